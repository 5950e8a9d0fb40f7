local function is_set(key) return redis.call('TYPE', key)['ok'] == 'set' end
local kept = {}
if is_set(KEYS[2]) then
  for _, member in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    kept[#kept + 1] = {member, '1'}
  end
else
  local pairs_of = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
  for i = 1, #pairs_of, 2 do kept[#kept + 1] = {pairs_of[i], pairs_of[i + 1]} end
end
for k = 3, #KEYS do
  local set = is_set(KEYS[k])
  local left = {}
  for _, pair in ipairs(kept) do
    local found
    if set then
      found = redis.call('SISMEMBER', KEYS[k], pair[1]) == 1
    else
      found = redis.call('ZSCORE', KEYS[k], pair[1])
    end
    if not found then left[#left + 1] = pair end
  end
  kept = left
end
redis.call('DEL', KEYS[1])
for _, pair in ipairs(kept) do redis.call('ZADD', KEYS[1], pair[2], pair[1]) end
