-- remove_webhook: forget a webhook, what it was told and what it was to be told.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  tenant
--
-- Replies
--   OK
--   MISSING, NOT_YOURS   nothing was written
--
-- Flags allow-oom
-- Moves nothing

local webhook, tenant = ARGV[1], ARGV[2]
local verdict = whose_webhook(webhook, tenant)
if verdict ~= 'OK' then return {verdict} end
for _, delivery in ipairs(redis.call('ZRANGE', key.deliveries(webhook), 0, -1)) do
  redis.call('DEL', key.delivery(delivery))
end
redis.call('DEL', key.deliveries(webhook), key.pending(webhook), key.webhook(webhook))
redis.call('ZREM', key.outbox, webhook)
redis.call('SREM', key.webhooks(tenant), webhook)
return {'OK'}
