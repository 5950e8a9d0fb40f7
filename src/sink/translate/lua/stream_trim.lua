local mode, strategy, threshold = ARGV[1], ARGV[2], ARGV[3]
local surplus = redis.call('XLEN', KEYS[1]) - (strategy == 'MAXLEN' and tonumber(threshold) or 0)
local from = '-'
while surplus > 0 do
  local batch = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 100)
  local seen = 0
  for _, entry in ipairs(batch) do
    local id = entry[1]
    if id ~= from then
      seen = seen + 1
      if surplus <= 0 then break end
      if strategy == 'MINID' and not after(threshold, id) then return 1 end
      surplus = surplus - delete(KEYS[1], id, mode)
      from = id
    end
  end
  if seen == 0 then break end
end
return 1
