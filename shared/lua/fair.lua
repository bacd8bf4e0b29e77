-- The fair order: who goes next. Start-time fair queueing (Goyal, Vin and Cheng, 1996), twice.
--
-- Within a lane each tenant is a flow: a job's start tag is the finish of the tenant's job before it, or the lane's
-- clock if that is later; its finish is the tag plus its width (cost / weight). The lowest tag goes first, and the clock
-- is the tag of the job that began last: so whoever has used little goes soon, waiting raises nobody's claim above its
-- share, and leaving and coming again gains nothing. Between the lanes the work in ms is what counts: `bulk` gets its
-- share of it as long as it waits, `interactive` the rest, and each what the other leaves.
--
-- Every waiting job stands in its lane's `order`, whose ranks are the places, and in its tenant's `line`. The first of
-- each line stands among the `heads`, from which a claim takes. When a job leaves from the middle, those behind it in
-- its line move up: some at once, the others with the next sweeps (`stale` says from where). A head stands right always,
-- and as all others stand no earlier than they should, so does what a claim takes.
--
-- A worker that is too old for a head puts it `beyond`: out of its line, so that those behind it may go, with its place
-- and its tag, charged to its tenant as if it had begun. Each claim of a worker that knows what is beyond brings the
-- first of each lane back into its line, and then takes whatever goes next. So no claim looks at a job twice that it
-- can't take, and where all workers are of one version nothing is beyond.
-- Stands on keys, work.

local LANES = {'interactive', 'bulk'}
local OTHER = {interactive = 'bulk', bulk = 'interactive'}
local MENDED_AT_ONCE = 8
local MOST_BROUGHT_BACK = 100
-- What the clock advances with each arrival, so that a thousand newcomers don't share a tag: next to nothing beside a
-- job's width.
local TICK = 16

local function spot_of(id)
  local model, lane, tenant, sequence, work_ms, width, floor, tag, began, needs, passed, anew = unpack(redis.call('HMGET',
    key.job(id), 'model', 'lane', 'tenant', 'sequence', 'work_ms', 'width', 'floor', 'tag', 'started_at_ms', 'needs',
    'passed', 'anew'))
  return {
    id = id, model = model, lane = lane, tenant = tenant, member = member_of(sequence, id, work_ms),
    work_ms = tonumber(work_ms), width = tonumber(width), floor = tonumber(floor or 0), tag = tonumber(tag or 0),
    keeps_tag = began ~= false and not anew or passed ~= false, is_anew = anew ~= false, needs = tonumber(needs or 1),
    order = key.order(model, lane), heads = key.heads(model, lane), line = key.line(model, lane, tenant),
    work = key.work(model, lane), used = key.used(model, lane), lanes = key.lanes(model),
  }
end

local function clock_of(spot)
  return tonumber(redis.call('HGET', spot.lanes, 'clock:' .. spot.lane) or 0)
end

-- The bulk lane's part of the work while both lanes wait; 0 before the first job.
local function bulk_percent(lanes)
  return tonumber(redis.call('HGET', lanes, 'bulk_percent') or 0)
end

-- What a millisecond of a lane's work adds to its tag: the other's share, which is as good as dividing by its own.
local function rate_of(lanes, lane)
  local bulk = bulk_percent(lanes)
  return lane == 'bulk' and 100 - bulk or bulk
end

-- The first of a line: its member, or nil.
local function first_of(line)
  return redis.call('ZRANGE', line, 0, 0)[1]
end

-- Where each lane stands, and the clock between them. A lane from which nothing could be taken has saved up nothing
-- when it comes back; when that is true of both, neither owes the other anything.
local function starts_of(model)
  local clock, starts, idle = 0, {}, {}
  for at, word in ipairs(redis.call('HMGET', key.lanes(model), 'start:interactive', 'start:bulk', 'clock')) do
    local lane = LANES[at]
    if lane then
      starts[lane] = tonumber(word or 0)
      idle[lane] = redis.call('EXISTS', key.heads(model, lane)) == 0
    else
      clock = tonumber(word or 0)
    end
  end
  if idle.interactive and idle.bulk then clock = math.max(clock, starts.interactive, starts.bulk) end
  for _, lane in ipairs(LANES) do
    if idle[lane] then starts[lane] = math.max(clock, starts[lane]) end
  end
  return starts, clock
end

-- Let a line's first job be taken, if there is one and its tenant may begin another.
local function expose(spot)
  local first = redis.call('ZRANGE', spot.line, 0, 0, 'WITHSCORES')
  if not first[1] then return end
  if redis.call('SISMEMBER', key.parked(spot.tenant), spot.lane .. ':' .. spot.model) == 1 then return end
  if redis.call('EXISTS', spot.heads) == 0 then
    local starts, clock = starts_of(spot.model)
    redis.call('HSET', spot.lanes, 'start:' .. spot.lane, starts[spot.lane], 'clock', clock)
  end
  redis.call('ZADD', spot.heads, first[2], first[1])
end

-- Put a job that has its tag into its line.
local function put_in_line(spot)
  local first = first_of(spot.line)
  redis.call('ZADD', spot.line, spot.tag, spot.member)
  if first ~= first_of(spot.line) then
    expose(spot)
    if first then redis.call('ZREM', spot.heads, first) end -- after that, or the lane would seem to have been empty
  end
end

-- Put a job that has its tag into the order.
local function put(spot)
  redis.call('ZADD', spot.order, spot.tag, spot.member)
  add_work(spot.work, spot.tag, spot.work_ms)
  redis.call('SADD', key.models, spot.model)
  put_in_line(spot)
end

-- Put a job behind all others of its tenant. Its spot.
local function enqueue(id)
  local spot = spot_of(id)
  local finish = tonumber(redis.call('ZSCORE', spot.used, spot.tenant) or 0)
  local last = redis.call('ZRANGE', spot.line, -1, -1)[1]
  if last then
    local before = spot_of(id_in(last))
    finish = math.max(finish, before.tag + before.width)
  end
  local arrival = tonumber(redis.call('HGET', spot.lanes, 'arrival:' .. spot.lane) or 0)
  spot.floor = math.max(clock_of(spot), arrival + TICK)
  spot.tag = math.max(spot.floor, finish)
  redis.call('HSET', key.job(id), 'floor', spot.floor, 'tag', spot.tag)
  if spot.tag == spot.floor then redis.call('HSET', spot.lanes, 'arrival:' .. spot.lane, spot.floor) end
  put(spot)
  return spot
end

local function stale_name(spot)
  return spot.lane .. ':' .. spot.tenant .. ':' .. spot.model
end

-- Move those of a line that stand behind `tag` up to where `finish` and their own arrival let them: at most `most`.
-- One that had begun and was handed back, or was beyond, keeps its place: what its tenant used contains it already.
-- Without `to_the_end`, stop at the first that stands right: those behind it do too, or are known to be stale.
local function mend(spot, tag, finish, most, to_the_end)
  local behind = redis.call('ZRANGE', spot.line, '(' .. string.format('%.0f', tag), '+inf', 'BYSCORE',
    'LIMIT', 0, most + 1)
  for at, member in ipairs(behind) do
    if at > most then
      local known = tonumber(redis.call('HGET', key.stale, stale_name(spot)) or tag)
      redis.call('HSET', key.stale, stale_name(spot), to_the_end and tag or math.min(known, tag))
      return
    end
    local other = spot_of(id_in(member))
    tag = other.keeps_tag and other.tag or math.max(other.floor, finish)
    if tag ~= other.tag then
      move_work(other.work, other.tag, tag, other.work_ms)
      redis.call('ZADD', other.order, tag, member)
      redis.call('ZADD', other.line, tag, member)
      redis.call('ZADD', other.heads, 'XX', tag, member)
      redis.call('HSET', key.job(other.id), 'tag', tag)
    elseif not to_the_end then
      return
    end
    finish = math.max(finish, tag + other.width)
  end
  if to_the_end then redis.call('HDEL', key.stale, stale_name(spot)) end
end

-- Where the last job of the line up to `bound` ends, or the tenant's last that began if that is later.
local function finish_before(spot, bound)
  local finish = tonumber(redis.call('ZSCORE', spot.used, spot.tenant) or 0)
  local ahead = redis.call('ZRANGE', spot.line, bound, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  if not ahead then return finish end
  local other = spot_of(id_in(ahead))
  return math.max(finish, other.tag + other.width)
end

-- Note among what the jobs that are beyond a model's older workers need that `needs` is, or is no more, one of it.
local function note_beyond(model, needs, is_needed)
  local known, needed = redis.call('HGET', key.lanes(model), 'beyond') or '', {}
  for one in string.gmatch(known, '%d+') do
    if tonumber(one) ~= needs then needed[#needed + 1] = tonumber(one) end
  end
  if is_needed then needed[#needed + 1] = needs end
  table.sort(needed)
  if needed[1] then
    redis.call('HSET', key.lanes(model), 'beyond', table.concat(needed, ' '))
  else
    redis.call('HDEL', key.lanes(model), 'beyond')
  end
end

local function leave_beyond(spot)
  if redis.call('ZREM', key.beyond(spot.model, spot.lane, spot.needs), spot.member) == 0 then return end
  redis.call('ZREM', key.beyond_line(spot.model, spot.lane, spot.tenant), spot.member)
  local both = {key.beyond(spot.model, LANES[1], spot.needs), key.beyond(spot.model, LANES[2], spot.needs)}
  if redis.call('EXISTS', unpack(both)) == 0 then note_beyond(spot.model, spot.needs, false) end
end

-- Take a job out of the order; those behind it in its line move up.
local function take_out(spot)
  local was_first = first_of(spot.line) == spot.member
  redis.call('ZREM', spot.order, spot.member)
  redis.call('ZREM', spot.line, spot.member)
  if spot.needs > 1 then leave_beyond(spot) end
  add_work(spot.work, spot.tag, -spot.work_ms)
  local finish = finish_before(spot, '(' .. string.format('%.0f', spot.tag))
  mend(spot, spot.tag, finish, MENDED_AT_ONCE, false)
  if was_first then
    expose(spot)
    redis.call('ZREM', spot.heads, spot.member) -- after that, as in `put`
  end
end

-- Go on mending a line where it was left; `most` jobs.
local function mend_stale(most)
  local name, tag = unpack(redis.call('HRANDFIELD', key.stale, 1, 'WITHVALUES'))
  if not name then return end
  local lane, tenant, model = string.match(name, '^(%a+):([^:]*):(.*)$')
  local first = first_of(key.line(model, lane, tenant))
  if not first then
    redis.call('HDEL', key.stale, name)
    return
  end
  local spot = spot_of(id_in(first))
  mend(spot, tonumber(tag), finish_before(spot, tag), most, true)
end

-- Forget what tenants have used who have nothing waiting and are no later than the clock: it says nothing any more.
local function forget_used(spot)
  for _, tenant in ipairs(redis.call('ZRANGE', spot.used, '-inf', clock_of(spot), 'BYSCORE', 'LIMIT', 0, 2)) do
    if redis.call('EXISTS', key.line(spot.model, spot.lane, tenant)) == 0 then
      redis.call('ZREM', spot.used, tenant)
    end
  end
end

-- The lane's tag moves by what is begun or, if `sign` is -1, handed back.
local function charge_lane(spot, sign)
  redis.call('HINCRBY', spot.lanes, 'start:' .. spot.lane, sign * spot.work_ms * rate_of(spot.lanes, spot.lane))
end

-- Put a head beyond the workers that don't know what it needs. Its lane's clocks stay: it has not begun.
local function put_beyond(spot)
  note_beyond(spot.model, spot.needs, true)
  redis.call('HSET', key.job(spot.id), 'passed', 1)
  redis.call('ZADD', key.beyond(spot.model, spot.lane, spot.needs), spot.tag, spot.member)
  redis.call('ZADD', key.beyond_line(spot.model, spot.lane, spot.tenant), spot.tag, spot.member)
  redis.call('ZADD', spot.used, 'GT', spot.tag + spot.width, spot.tenant)
  redis.call('ZREM', spot.line, spot.member)
  expose(spot)
  redis.call('ZREM', spot.heads, spot.member) -- after that, as in `put_in_line`
end

-- The first that is beyond and still waits, or nil. One may have ended there: programs from before there was a beyond
-- leave it behind when they cancel a job.
local function first_beyond(model, lane, needs)
  local beyond = key.beyond(model, lane, needs)
  local first = first_of(beyond)
  while first do
    local tenant, status = unpack(redis.call('HMGET', key.job(id_in(first)), 'tenant', 'status'))
    if status == 'queued' then return first end
    redis.call('ZREM', beyond, first)
    if tenant then redis.call('ZREM', key.beyond_line(model, lane, tenant), first) end
    first = first_of(beyond)
  end
  if redis.call('EXISTS', key.beyond(model, OTHER[lane], needs)) == 0 then note_beyond(model, needs, false) end
end

-- How many ms the oldest has waited of those that are beyond and still wait, up to `most` looked at from each end.
local function oldest_beyond(model, lane, most, now)
  local oldest = 0
  for needs in string.gmatch(redis.call('HGET', key.lanes(model), 'beyond') or '', '%d+') do
    for _, range in ipairs({{0, most - 1}, {-most, -1}}) do
      for _, member in ipairs(redis.call('ZRANGE', key.beyond(model, lane, needs), range[1], range[2])) do
        local status, created = unpack(redis.call('HMGET', key.job(id_in(member)), 'status', 'created_at_ms'))
        if status == 'queued' then oldest = math.max(oldest, now - created) end
      end
    end
  end
  return oldest
end

-- Bring the first that is beyond, of each of these lanes and of each need within `contract`, back into its line; where its
-- tenant may begin nothing now, the next too: else a worker would hear of none while others' wait. `needed` says what
-- those that are beyond a model's workers need.
local function bring_back(model, lanes, needed, contract)
  for word in string.gmatch(needed, '%d+') do
    local needs = tonumber(word)
    for _, lane in ipairs(needs <= contract and lanes or {}) do
      for _ = 1, MOST_BROUGHT_BACK do
        local first = first_beyond(model, lane, needs)
        if not first then break end
        local spot = spot_of(id_in(first))
        leave_beyond(spot)
        put_in_line(spot)
        if redis.call('SISMEMBER', key.parked(spot.tenant), lane .. ':' .. model) == 0 then break end
      end
    end
  end
end

-- Where both lanes stand, and what is needed by jobs that are beyond a model's older workers.
local function stand_of_lanes(model)
  local interactive, bulk, needed = unpack(redis.call('HMGET', key.lanes(model),
    'start:interactive', 'start:bulk', 'beyond'))
  return {interactive = tonumber(interactive or 0), bulk = tonumber(bulk or 0)}, needed
end

-- Who goes next for a model, in both lanes or in one, to a worker of that contract: a spot, which the worker may be too
-- old for all the same, or nil.
local function next_up(model, only, contract)
  local lanes = only and {only} or LANES
  local starts, needed = stand_of_lanes(model)
  if needed then
    bring_back(model, lanes, needed, contract)
    starts = stand_of_lanes(model)
  end
  local chosen, lowest
  for _, lane in ipairs(lanes) do
    local head = redis.call('ZRANGE', key.heads(model, lane), 0, 0)[1]
    if head then
      if not chosen or starts[lane] < lowest then chosen, lowest = head, starts[lane] end
    end
  end
  return chosen and spot_of(id_in(chosen))
end

-- The job begins: take it out and charge its tenant and its lane.
local function begin(spot)
  local start, clock = unpack(redis.call('HMGET', spot.lanes, 'start:' .. spot.lane, 'clock'))
  redis.call('HSET', spot.lanes, 'clock', math.max(tonumber(start), tonumber(clock)),
    'clock:' .. spot.lane, math.max(spot.tag, clock_of(spot)))
  charge_lane(spot, 1)
  if spot.is_anew then redis.call('HDEL', key.job(spot.id), 'anew') end
  redis.call('ZADD', spot.used, 'GT', spot.tag + spot.width, spot.tenant)
  take_out(spot)
  forget_used(spot)
end

-- Pass a tenant over in this lane until one of its running jobs ends.
local function park(spot)
  redis.call('ZREM', spot.heads, spot.member)
  redis.call('SADD', key.parked(spot.tenant), spot.lane .. ':' .. spot.model)
end

local function unpark(tenant)
  local parked = redis.call('SMEMBERS', key.parked(tenant))
  redis.call('DEL', key.parked(tenant))
  for _, name in ipairs(parked) do
    local lane, model = string.match(name, '^(%a+):(.*)$')
    local first = first_of(key.line(model, lane, tenant))
    if first then expose(spot_of(id_in(first))) end
  end
end

-- How many jobs go before this one if nothing changes; those of them in its lane, and their work in ms. An interactive
-- job counts its own lane alone: bulk jobs make way for it even after they have begun.
local function ahead_of(spot)
  local rank = redis.call('ZRANK', spot.order, spot.member)
  local work = work_before(spot.order, spot.work, spot.tag, rank)
  local other = OTHER[spot.lane]
  local order = key.order(spot.model, other)
  if spot.lane == 'interactive' or redis.call('EXISTS', order) == 0 then return rank, rank, work end
  local starts = starts_of(spot.model)
  -- It begins when its lane's tag has come to this; the interactive lane wins a tie.
  local lead = starts[spot.lane] + work * rate_of(spot.lanes, spot.lane) - starts[other] + 1
  local count = begun_within(order, key.work(spot.model, other), math.ceil(lead / rate_of(spot.lanes, other)))
  return rank + count, rank, work
end

-- Waiting jobs of all models: of everybody, and of one tenant.
local function count_waiting(tenant)
  local everybodys, tenants = 0, 0
  for _, model in ipairs(redis.call('SMEMBERS', key.models)) do
    for _, lane in ipairs(LANES) do
      everybodys = everybodys + redis.call('ZCARD', key.order(model, lane))
      tenants = tenants + redis.call('ZCARD', key.line(model, lane, tenant))
        + redis.call('ZCARD', key.beyond_line(model, lane, tenant))
    end
  end
  return everybodys, tenants
end
