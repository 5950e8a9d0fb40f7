local function after(a, b)
  local function parts(id)
    local ms, seq = string.match(id, '^(%d+)-?(%d*)$')
    return ms, seq == '' and '0' or seq
  end
  local function greater(x, y)
    if #x ~= #y then return #x > #y end
    return x > y
  end
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  if a_ms ~= b_ms then return greater(a_ms, b_ms) end
  return greater(a_seq, b_seq)
end
local function groups(key)
  local found = {}
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local group = {}
    for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
    found[#found + 1] = group
  end
  return found
end
local function referenced(key, id)
  for _, group in ipairs(groups(key)) do
    if after(id, group['last-delivered-id']) then return true end
    if #redis.call('XPENDING', key, group['name'], id, id, 1) > 0 then return true end
  end
  return false
end
local function delete(key, id, mode)
  if mode == 'ACKED' and referenced(key, id) then return 0 end
  if mode == 'DELREF' then
    for _, group in ipairs(groups(key)) do redis.call('XACK', key, group['name'], id) end
  end
  return redis.call('XDEL', key, id)
end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
