-- outlook: tell what lies ahead of a model's queue: how much waits, how far the running jobs are, how lanes share.
--
-- KEYS[1]  prefix
-- ARGV[1]  model
--
-- Replies
--   OK waiting running bulk   lane, jobs, ms of work for each lane; worker, lane, ms of work, denoising steps done and
--                             in all, ms since the claim for each running job; percent of the work for the bulk lane
--
-- Flags no-writes
-- Moves nothing

local model, now = ARGV[1], now_ms()
local waiting, running = {}, {}
for _, lane in ipairs(LANES) do
  local order = key.order(model, lane)
  local count, work = redis.call('ZCARD', order), 0
  for _, ms in ipairs(nodes(key.work(model, lane), LEVELS - 1, 0, RADIX)) do work = work + ms end
  waiting[#waiting + 1] = {lane, count, work}
end
for _, id in ipairs(redis.call('ZRANGE', key.leases, 0, -1)) do
  local of, worker, lane, work, step, steps, since = unpack(redis.call('HMGET', key.job(id),
    'model', 'worker', 'lane', 'work_ms', 'step', 'steps', 'claimed_at_ms'))
  if of == model then
    running[#running + 1] = {worker, lane, tonumber(work), tonumber(step), tonumber(steps), now - since}
  end
end
return {'OK', waiting, running, bulk_percent(key.lanes(model))}
