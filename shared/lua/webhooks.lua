-- webhooks: list a tenant's webhooks.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
--
-- Replies
--   OK webhooks
--
-- Flags no-writes
-- Moves nothing

local found = {}
for _, webhook in ipairs(redis.call('SMEMBERS', key.webhooks(ARGV[1]))) do
  found[#found + 1] = describe_webhook(webhook)
end
return {'OK', found}
