-- settle: end a round: note what came of its deliveries. A second time it changes nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  webhook id
-- ARGV[2]  ms after which a webhook that takes nothing is switched off
-- ARGV[3...]  pairs: delivery, the attempt in JSON: `tries`, `outcome` (delivered, again, failed or dropped),
--             `again_in_ms`, `status` (410: switch the webhook off)
--
-- Replies
--   OK off        why it is off now; '' if it isn't
--   MISSING       the webhook is gone; nothing was written
--
-- Flags allow-oom
-- Moves nothing

local webhook, now = ARGV[1], now_ms()
if redis.call('EXISTS', key.webhook(webhook)) == 0 then return {'MISSING'} end
local took, refused
local is_under_way = redis.call('HEXISTS', key.webhook(webhook), 'busy_until_ms') == 1 -- else this is the second time
for at = 3, #ARGV, 2 do
  local delivery, attempt = ARGV[at], cjson.decode(ARGV[at + 1])
  local tries = tonumber(redis.call('HGET', key.delivery(delivery), 'tries') or -1)
  -- Else it was replayed, or its round was given up: the others' word counts.
  if tries == attempt.tries and redis.call('ZSCORE', key.pending(webhook), delivery) then
    local logged = redis.call('HINCRBY', key.delivery(delivery), 'logged', 1)
    redis.call('HSET', key.delivery(delivery), 'attempt:' .. logged, ARGV[at + 1])
    redis.call('HDEL', key.delivery(delivery), 'attempt:' .. (logged - MOST_ATTEMPTS_LOGGED))
    if attempt.outcome == 'again' then
      redis.call('ZADD', key.pending(webhook), now + attempt.again_in_ms, delivery)
    else
      redis.call('ZREM', key.pending(webhook), delivery)
      redis.call('HSET', key.delivery(delivery), 'status', attempt.outcome)
    end
    if attempt.outcome == 'delivered' then
      took = true
    elseif attempt.outcome ~= 'dropped' then
      refused = true
    end
    if is_under_way then
      count(1, 'webhook_attempts', attempt.outcome)
      if attempt.outcome ~= 'dropped' then count_time(attempt.took_ms, 'webhook_seconds') end
    end
    if attempt.status == 410 then redis.call('HSET', key.webhook(webhook), 'off', 'gone') end
  end
end
if took then
  redis.call('HDEL', key.webhook(webhook), 'failing_since_ms')
elseif refused then
  redis.call('HSETNX', key.webhook(webhook), 'failing_since_ms', now)
  local since = tonumber(redis.call('HGET', key.webhook(webhook), 'failing_since_ms'))
  if now - since >= tonumber(ARGV[2]) then redis.call('HSETNX', key.webhook(webhook), 'off', 'dead') end
end
redis.call('HDEL', key.webhook(webhook), 'busy_until_ms')
trim(webhook, now)
schedule(webhook)
return {'OK', redis.call('HGET', key.webhook(webhook), 'off') or ''}
