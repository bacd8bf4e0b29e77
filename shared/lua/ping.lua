-- ping: let a test wait to be sent to a webhook. A second time it changes nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  tenant
-- ARGV[3]  delivery id
--
-- Replies
--   OK delivery
--   OFF           it is switched off; nothing was written
--   FULL          too much waits for it; nothing was written
--   MISSING, NOT_YOURS   nothing was written
--
-- Moves nothing

local webhook, delivery = ARGV[1], ARGV[3]
local verdict = whose_webhook(webhook, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
if redis.call('HEXISTS', key.webhook(webhook), 'off') == 1 then return {'OFF'} end
post(webhook, delivery, {}, 'webhook.test', now_ms())
if redis.call('EXISTS', key.delivery(delivery)) == 0 then return {'FULL'} end
return {'OK', describe_delivery(webhook, delivery)}
