-- change_webhook: change what a webhook is told and where, switch it off or on, or give it another secret.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  tenant
-- ARGV[3]  why it is off from now on; 'on' to switch it on, '' to leave it as it is
-- ARGV[4]  new secret; '' to keep the old one
-- ARGV[5]  ms for which messages are signed by the old secret too
-- ARGV[6...]  pairs: field (url, events, description), value
--
-- Replies
--   OK webhook
--   MISSING, NOT_YOURS   nothing was written
--
-- Moves nothing

local webhook = ARGV[1]
local verdict = whose_webhook(webhook, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
if ARGV[3] == 'on' then
  redis.call('HDEL', key.webhook(webhook), 'off', 'failing_since_ms')
elseif ARGV[3] ~= '' then
  redis.call('HSET', key.webhook(webhook), 'off', ARGV[3])
end
local secret = redis.call('HGET', key.webhook(webhook), 'secret')
if ARGV[4] ~= '' and ARGV[4] ~= secret then
  redis.call('HSET', key.webhook(webhook), 'secret', ARGV[4], 'old_secret', secret,
    'old_secret_until_ms', now_ms() + ARGV[5])
end
for at = 6, #ARGV, 2 do redis.call('HSET', key.webhook(webhook), ARGV[at], ARGV[at + 1]) end
schedule(webhook)
return {'OK', describe_webhook(webhook)}
