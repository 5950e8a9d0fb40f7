local mode, acknowledges, group = ARGV[1], ARGV[2] == 'ACK', ARGV[3]
for i = 4, #ARGV do
  local id = ARGV[i]
  if not acknowledges or redis.call('XACK', KEYS[1], group, id) == 1 then
    delete(KEYS[1], id, mode)
  end
end
return 1
