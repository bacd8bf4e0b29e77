-- waiting: tell whose jobs wait for a model, by lane, whoever has most work waiting first.
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  most tenants of a lane
--
-- Replies
--   OK lanes      {lane, tenants, {tenant, jobs, ms of work, running jobs, ms since the submit of its next job}, ...}
--
-- Flags no-writes
-- Moves nothing

local MOST_LOOKS = 1000 -- at tenants of a lane: those at the end of the fair order, who use most
local MOST_SUMMED = 200 -- of a tenant's jobs; the rest is taken to be like those

local model, now, told = ARGV[1], now_ms(), {}
local leased = redis.call('ZRANGE', key.leases, 0, -1)

local needed = redis.call('HGET', key.lanes(model), 'beyond') or ''

-- The first of two lines, by tag.
local function first_of_both(line, beyond)
  local first, other = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES'), redis.call('ZRANGE', beyond, 0, 0, 'WITHSCORES')
  if not first[1] then return other[1] end
  return other[1] and tonumber(other[2]) < tonumber(first[2]) and other[1] or first[1]
end

-- Those who have jobs in a lane: among its heads, beyond its older workers, or passed over while others of theirs run.
local function tenants_of(lane)
  local found, seen, ids = {}, {}, {}
  local function look_at(members)
    for _, member in ipairs(members) do ids[#ids + 1] = id_in(member) end
  end
  look_at(redis.call('ZRANGE', key.heads(model, lane), 0, MOST_LOOKS - 1, 'REV'))
  for needs in string.gmatch(needed, '%d+') do
    look_at(redis.call('ZRANGE', key.beyond(model, lane, needs), 0, MOST_LOOKS - 1, 'REV'))
  end
  for _, id in ipairs(leased) do ids[#ids + 1] = id end
  for _, id in ipairs(ids) do
    local tenant = field(id, 'tenant') or '' -- an older version may have forgotten what is beyond
    local line, beyond = key.line(model, lane, tenant), key.beyond_line(model, lane, tenant)
    local first = not seen[tenant] and first_of_both(line, beyond)
    seen[tenant] = true
    if first then
      local jobs = redis.call('ZCARD', line) + redis.call('ZCARD', beyond)
      found[#found + 1] = {tenant = tenant, line = line, beyond = beyond, jobs = jobs, first = first,
        guess = jobs * work_in(first)}
    end
  end
  return found
end

local function sum_of(one)
  local sum, read = 0, 0
  for _, line in ipairs({one.line, one.beyond}) do
    for _, member in ipairs(redis.call('ZRANGE', line, 0, MOST_SUMMED - 1)) do
      sum, read = sum + work_in(member), read + 1
    end
  end
  return math.floor(sum * one.jobs / read)
end

for _, lane in ipairs(LANES) do
  local tenants = tenants_of(lane)
  table.sort(tenants, function(one, other)
    if one.guess ~= other.guess then return one.guess > other.guess end
    return one.tenant < other.tenant
  end)
  local reply = {lane, #tenants}
  for at = 1, math.min(#tenants, ARGV[2]) do
    local one = tenants[at]
    reply[#reply + 1] = {one.tenant, one.jobs, sum_of(one), redis.call('SCARD', key.running(one.tenant)),
      now - (field(id_in(one.first), 'created_at_ms') or now)}
  end
  told[#told + 1] = reply
end
return {'OK', told}
