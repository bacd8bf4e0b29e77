-- demand: tell what of a model's waiting work workers could begin; note that a scaler asks, and keep what is known of
-- the model, which may have no worker for long.
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  seconds to keep its card, its vocabulary and its speeds
-- ARGV[3]  seconds for which it is known that a scaler asks
--
-- Replies
--   OK jobs work oldest   jobs and ms of work that wait for nothing but a worker; ms since the submit of the oldest of
--                         those that go next for their tenants, or are beyond older workers, 0 if there is none.
--                         Of a tenant whose jobs may not all run at once, no more than may; their work is a guess
--
-- Flags allow-oom
-- Moves nothing

local MOST_LOOKS = 1000 -- at tenants of a lane; those that are not looked at are taken to have no limit

local model, now = ARGV[1], now_ms()
redis.call('SET', key.scaled(model), 1, 'EX', ARGV[3])
for _, kept in ipairs({key.card(model), key.vocabulary(model), key.speeds(model)}) do
  redis.call('EXPIRE', kept, ARGV[2])
end

local jobs, work, oldest = 0, 0, 0
local may_begin = {} -- by tenant with a limit: how many more, in both lanes together
local leased = redis.call('ZRANGE', key.leases, 0, -1)

for _, lane in ipairs(LANES) do
  jobs = jobs + redis.call('ZCARD', key.order(model, lane))
  for _, ms in ipairs(nodes(key.work(model, lane), LEVELS - 1, 0, RADIX)) do work = work + ms end
  -- Who has jobs in the lane: among its heads, or passed over while others of theirs run.
  local ids, seen = {}, {}
  for _, member in ipairs(redis.call('ZRANGE', key.heads(model, lane), 0, MOST_LOOKS - 1)) do
    ids[#ids + 1] = id_in(member)
  end
  for _, id in ipairs(leased) do ids[#ids + 1] = id end
  for _, id in ipairs(ids) do
    local tenant = field(id, 'tenant')
    local line = key.line(model, lane, tenant)
    local first = not seen[tenant] and first_of(line)
    seen[tenant] = true
    if first then
      local most, created = unpack(redis.call('HMGET', key.job(id_in(first)), 'max_running', 'created_at_ms'))
      local waiting, begins = redis.call('ZCARD', line), nil
      if tonumber(most or 0) > 0 then
        local left = may_begin[tenant] or math.max(0, most - redis.call('SCARD', key.running(tenant)))
        begins = math.min(waiting, left)
        may_begin[tenant] = left - begins
        jobs = jobs - (waiting - begins)
        work = work - (waiting - begins) * work_in(first)
      end
      if begins ~= 0 then oldest = math.max(oldest, now - created) end
    end
  end
  oldest = math.max(oldest, oldest_beyond(model, lane, MOST_LOOKS, now)) -- a new worker may be a newer one
end
return {'OK', math.max(0, jobs), jobs > 0 and math.max(1, math.floor(work)) or 0, oldest}
