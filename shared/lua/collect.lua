-- collect: take a round: some deliveries that are due, all to one webhook. They are another's if it is not settled in
-- time, so sending this again may take another round, and the first one's deliveries are late, not lost.
--
-- KEYS[1]  prefix
-- ARGV[1]  most deliveries
-- ARGV[2]  ms within which the round will be settled
-- ARGV[3]  1: for none of the webhooks whose last round was refused; 0: for any
--
-- Replies
--   OK webhook url secret old_secret deliveries fails   old_secret: '' if messages are signed by one only;
--                 each of them {id, event, ms of the event, tries with this one, job or '', batch or ''};
--                 fails: 1 if the webhook's last round was refused
--   NONE          nothing is due
--
-- Flags allow-oom
-- Moves nothing

local MOST_LOOKS = 1000

local now = now_ms()
local webhook, fails
for _, one in ipairs(redis.call('ZRANGE', key.outbox, '-inf', now, 'BYSCORE', 'LIMIT', 0, MOST_LOOKS)) do
  fails = redis.call('HEXISTS', key.webhook(one), 'failing_since_ms')
  if fails == 0 or ARGV[3] == '0' then
    webhook = one
    break
  end
end
if not webhook then return {'NONE'} end
local url, secret, old_secret, old_until = unpack(redis.call('HMGET', key.webhook(webhook),
  'url', 'secret', 'old_secret', 'old_secret_until_ms'))
if not old_until or tonumber(old_until) <= now then old_secret = '' end
local taken = {}
for _, delivery in ipairs(redis.call('ZRANGE', key.pending(webhook), '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local event, created, job, batch = unpack(redis.call('HMGET', key.delivery(delivery),
    'event', 'created_at_ms', 'job', 'batch'))
  local has_job = job ~= '' and owner_of(job)
  local has_batch = batch and batch ~= '' and redis.call('EXISTS', key.batch(batch)) == 1
  local tries = redis.call('HINCRBY', key.delivery(delivery), 'tries', 1)
  redis.call('ZADD', key.pending(webhook), now + ARGV[2], delivery)
  taken[#taken + 1] = {delivery, event, created, tries, has_job and describe(job) or '',
    has_batch and describe_batch(batch) or ''}
end
redis.call('HSET', key.webhook(webhook), 'busy_until_ms', now + ARGV[2])
schedule(webhook)
return {'OK', webhook, url, secret, old_secret, taken, fails}
