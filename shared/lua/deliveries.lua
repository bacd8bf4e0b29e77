-- deliveries: list what a webhook was told and is to be told, latest first.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  tenant
-- ARGV[3]  most deliveries
-- ARGV[4]  how many of the latest to leave out
--
-- Replies
--   OK deliveries more   more: 1 if there are others
--   MISSING, NOT_YOURS
--
-- Flags no-writes
-- Moves nothing

local webhook, most, from = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local verdict = whose_webhook(webhook, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
local ids, found = redis.call('ZRANGE', key.deliveries(webhook), from, from + most, 'REV'), {}
for at = 1, math.min(most, #ids) do found[at] = describe_delivery(webhook, ids[at]) end
return {'OK', found, #ids > most and 1 or 0}
