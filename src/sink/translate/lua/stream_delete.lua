local mode, group = ARGV[1], ARGV[2]
for i = 3, #ARGV do
  local id = ARGV[i]
  if group == '' or redis.call('XACK', KEYS[1], group, id) == 1 then
    delete(KEYS[1], id, mode)
  end
end
return 1
