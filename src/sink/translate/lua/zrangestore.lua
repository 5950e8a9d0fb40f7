local by_lex = ARGV[1] == 'ZRANGEBYLEX' or ARGV[1] == 'ZREVRANGEBYLEX'
local found = redis.call(ARGV[1], KEYS[2], unpack(ARGV, 2))
local step = by_lex and 1 or 2
local scores = {}
for i = 1, #found, step do
  scores[i] = by_lex and redis.call('ZSCORE', KEYS[2], found[i]) or found[i + 1]
end
redis.call('DEL', KEYS[1])
for i = 1, #found, step do redis.call('ZADD', KEYS[1], scores[i], found[i]) end
