-- webhooks: list a tenant's webhooks.
-- With: keys, work, fair, outbox, record
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
--
-- Replies
--   OK webhooks
--
-- Moves nothing

local found = {}
for _, webhook in ipairs(redis.call('SMEMBERS', key.webhooks(ARGV[1]))) do
  found[#found + 1] = describe_webhook(webhook)
end
return {'OK', found}
