-- replay: send a delivery again, now, with all its tries before it.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  tenant
-- ARGV[3]  delivery id
--
-- Replies
--   OK delivery
--   OFF           the webhook is switched off; nothing was written
--   UNKNOWN       the webhook has no such delivery; nothing was written
--   MISSING, NOT_YOURS   nothing was written
--
-- Moves nothing

local webhook, delivery = ARGV[1], ARGV[3]
local verdict = whose_webhook(webhook, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
if redis.call('HGET', key.delivery(delivery), 'webhook') ~= webhook then return {'UNKNOWN'} end
if redis.call('HEXISTS', key.webhook(webhook), 'off') == 1 then return {'OFF'} end
redis.call('HSET', key.delivery(delivery), 'status', 'pending', 'tries', 0)
redis.call('ZADD', key.pending(webhook), now_ms(), delivery)
schedule(webhook)
return {'OK', describe_delivery(webhook, delivery)}
