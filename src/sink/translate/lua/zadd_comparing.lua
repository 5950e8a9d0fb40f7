for i = 3, #ARGV, 2 do
  local score, member = ARGV[i], ARGV[i + 1]
  local old = redis.call('ZSCORE', KEYS[1], member)
  local better
  if not old then
    better = ARGV[2] ~= 'XX'
  elseif string.upper(ARGV[1]) == 'GT' then
    better = tonumber(score) > tonumber(old)
  else
    better = tonumber(score) < tonumber(old)
  end
  if better then redis.call('ZADD', KEYS[1], score, member) end
end
