local value = redis.call('DUMP', KEYS[1])
if not value then return 0 end
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then ttl = 0 end
if ARGV[1] ~= '' then redis.call('SELECT', ARGV[1]) end
redis.call('RESTORE', KEYS[2], ttl, value, 'REPLACE')
return 1
