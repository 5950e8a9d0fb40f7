local element = redis.call(ARGV[1], KEYS[1])
if element then redis.call(ARGV[2], KEYS[2], element) end
