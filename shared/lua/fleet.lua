-- fleet: tell which models are known, last served first, which workers live and what they were told; forget the rest.
--
-- KEYS[1]  prefix
-- ARGV[1]  ms for which a worker that fell silent is remembered, and what it was told
--
-- Replies
--   OK cards workers modes lost silent speeds scaled   JSON, JSON; pairs of worker id or '*' and mode; for each worker
--                                 that came and died without a farewell in that time its model; for each living worker,
--                                 as they are listed, ms since its last heartbeat; for each card, as they are listed,
--                                 how fast its last worker was, JSON or '', and 1 if a scaler asks for it, else 0
--
-- Flags allow-oom
-- Moves nothing

local now = now_ms()
local forgotten_before = now - ARGV[1]

-- What lives, last seen first; what has been silent for long is no longer looked for.
local function living(index, name)
  local found, silent, names, seen = {}, {}, {}, redis.call('ZRANGE', index, 0, -1, 'REV', 'WITHSCORES')
  for at = 1, #seen, 2 do
    local word = redis.call('GET', name(seen[at]))
    if word then
      found[#found + 1] = word
      silent[#silent + 1] = math.max(0, now - seen[at + 1])
      names[#names + 1] = seen[at]
    end
  end
  return found, silent, names
end

-- A worker that was cut off for a while finds its orders again.
for _, worker in ipairs(redis.call('ZRANGE', key.workers, '-inf', forgotten_before, 'BYSCORE')) do
  if redis.call('EXISTS', key.worker(worker)) == 0 then
    redis.call('ZREM', key.workers, worker)
    redis.call('HDEL', key.modes, worker)
  end
end
for _, model in ipairs(redis.call('ZRANGE', key.cards, '-inf', forgotten_before, 'BYSCORE')) do
  if redis.call('EXISTS', key.card(model)) == 0 then redis.call('ZREM', key.cards, model) end
end
redis.call('ZREMRANGEBYSCORE', key.born, '-inf', forgotten_before)
local cards, _, models = living(key.cards, key.card)
local workers, silent = living(key.workers, key.worker)
local lost, speeds, scaled = {}, {}, {}
for _, name in ipairs(redis.call('ZRANGE', key.born, 0, -1)) do
  local worker, model = string.match(name, '^(%S+) (.*)$')
  if redis.call('EXISTS', key.worker(worker)) == 0 then lost[#lost + 1] = model end
end
for _, model in ipairs(models) do
  speeds[#speeds + 1] = redis.call('GET', key.speeds(model)) or ''
  scaled[#scaled + 1] = redis.call('EXISTS', key.scaled(model))
end
return {'OK', cards, workers, redis.call('HGETALL', key.modes), lost, silent, speeds, scaled}
