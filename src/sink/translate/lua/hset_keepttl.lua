for i = 1, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  local expiry = redis.call('HPEXPIRETIME', KEYS[1], 'FIELDS', 1, field)[1]
  redis.call('HSET', KEYS[1], field, value)
  if expiry and expiry > 0 then
    redis.call('HPEXPIREAT', KEYS[1], expiry, 'FIELDS', 1, field)
  end
end
