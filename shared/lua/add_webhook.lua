-- add_webhook: tell a tenant of its jobs' ends at an address. A second time it changes nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  tenant
-- ARGV[3]  most webhooks of the tenant
-- ARGV[4]  address
-- ARGV[5]  events, with blanks between them
-- ARGV[6]  the tenant's own words on it
-- ARGV[7]  secret by which its messages are signed
--
-- Replies
--   OK webhook
--   FULL          the tenant has as many as it may; nothing was written
--
-- Moves nothing

local webhook, tenant = ARGV[1], ARGV[2]
if redis.call('EXISTS', key.webhook(webhook)) == 0 then
  if redis.call('SCARD', key.webhooks(tenant)) >= tonumber(ARGV[3]) then return {'FULL'} end
  redis.call('HSET', key.webhook(webhook), 'tenant', tenant, 'url', ARGV[4], 'events', ARGV[5],
    'description', ARGV[6], 'secret', ARGV[7], 'created_at_ms', now_ms())
  redis.call('SADD', key.webhooks(tenant), webhook)
end
return {'OK', describe_webhook(webhook)}
