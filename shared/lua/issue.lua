-- issue: keep a new key. One of its id that is there already stays as it is.
--
-- KEYS[1]  prefix
-- ARGV[1]  key id
-- ARGV[2]  digest of its secret
-- ARGV[3]  name
-- ARGV[4]  tenant
-- ARGV[5]  scopes, parted by commas
-- ARGV[6]  ms until it expires; '' for never
--
-- Replies
--   OK fields     pairs: digest, name, tenant, scopes, created_at_ms; expires_at_ms and used_at_ms if there are any
--
-- Moves nothing

local access = key.access(ARGV[1])
if redis.call('EXISTS', access) == 0 then
  local now = now_ms()
  redis.call('HSET', access,
    'digest', ARGV[2], 'name', ARGV[3], 'tenant', ARGV[4], 'scopes', ARGV[5], 'created_at_ms', now)
  if ARGV[6] ~= '' then redis.call('HSET', access, 'expires_at_ms', now + ARGV[6]) end
  redis.call('ZADD', key.access_keys, now, ARGV[1])
  redis.call('SADD', key.tenants, ARGV[4])
end
return {'OK', redis.call('HGETALL', access)}
