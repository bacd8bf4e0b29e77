-- What tenants' webhooks are to be told. A delivery waits in its webhook's line of pending ones, and the webhook stands
-- in the outbox at the time of the first of them. One round at a time sends for a webhook, so that a slow receiver holds
-- up nobody but itself; a round that is not settled in time counts as dead, and what it had is sent again.
-- Stands on keys.

local MOST_PENDING = 10000
local MOST_LOGGED = 1000
local MOST_ATTEMPTS_LOGGED = 20
local LOG_LIFE_MS = 30 * 24 * 3600 * 1000

-- Put a webhook where it belongs in the outbox.
local function schedule(webhook)
  local off, busy_until_ms = unpack(redis.call('HMGET', key.webhook(webhook), 'off', 'busy_until_ms'))
  local first = redis.call('ZRANGE', key.pending(webhook), 0, 0, 'WITHSCORES')
  if off or not first[1] then
    redis.call('ZREM', key.outbox, webhook)
  else
    redis.call('ZADD', key.outbox, math.max(tonumber(first[2]), tonumber(busy_until_ms or 0)), webhook)
  end
end

-- Forget deliveries that are old or many, those first that came first, but none that waits.
local function trim(webhook, now)
  local log = key.deliveries(webhook)
  while true do
    local first = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')
    if not first[1] then return end
    if redis.call('ZCARD', log) <= MOST_LOGGED and tonumber(first[2]) > now - LOG_LIFE_MS then return end
    if redis.call('ZSCORE', key.pending(webhook), first[1]) then return end
    redis.call('ZREM', log, first[1])
    redis.call('DEL', key.delivery(first[1]))
  end
end

-- Let a delivery wait to be sent. `about`: {job = id}, {batch = id}, or {} for a test.
local function post(webhook, delivery, about, event, now)
  if redis.call('EXISTS', key.delivery(delivery)) == 1 then return end
  if redis.call('ZCARD', key.pending(webhook)) >= MOST_PENDING then
    redis.call('HINCRBY', key.webhook(webhook), 'left_out', 1)
    return
  end
  redis.call('HSET', key.delivery(delivery), 'webhook', webhook, 'job', about.job or '', 'batch', about.batch or '',
    'event', event, 'created_at_ms', now, 'status', 'pending', 'tries', 0, 'logged', 0)
  redis.call('ZADD', key.deliveries(webhook), now, delivery)
  redis.call('ZADD', key.pending(webhook), now, delivery)
  trim(webhook, now)
  schedule(webhook)
end

-- A job or a batch has ended: its tenant's webhooks that want to know are told.
local function post_end(tenant, about, event, now)
  for _, webhook in ipairs(redis.call('SMEMBERS', key.webhooks(tenant))) do
    local events, off = unpack(redis.call('HMGET', key.webhook(webhook), 'events', 'off'))
    if not off and string.find(' ' .. events .. ' ', ' ' .. event .. ' ', 1, true) then
      post(webhook, webhook .. '.' .. (about.job or about.batch), about, event, now)
    end
  end
end

-- What a tenant may know of a webhook: OK, MISSING (none of this id) or NOT_YOURS.
local function whose_webhook(webhook, tenant)
  local owner = redis.call('HGET', key.webhook(webhook), 'tenant')
  if not owner then return 'MISSING' end
  return owner == tenant and 'OK' or 'NOT_YOURS'
end

-- {id, deliveries that wait, {field, value, ...}}, without the secrets.
local function describe_webhook(webhook)
  local shown = {}
  for _, name in ipairs({'url', 'events', 'description', 'created_at_ms', 'off', 'failing_since_ms', 'left_out'}) do
    local value = redis.call('HGET', key.webhook(webhook), name)
    if value then
      shown[#shown + 1] = name
      shown[#shown + 1] = value
    end
  end
  return {webhook, redis.call('ZCARD', key.pending(webhook)), shown}
end

-- {id, ms when it is sent next or '', {field, value, ...}}. What is switched off sends nothing, whenever it was due.
local function describe_delivery(webhook, delivery)
  local is_off = redis.call('HEXISTS', key.webhook(webhook), 'off') == 1
  local due = not is_off and redis.call('ZSCORE', key.pending(webhook), delivery)
  return {delivery, due or '', redis.call('HGETALL', key.delivery(delivery))}
end
