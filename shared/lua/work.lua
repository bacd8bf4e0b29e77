-- Sums of expected work over a lane's fair order: a radix tree whose nodes are fields of one hash.
--
-- A leaf holds the jobs of LEAF consecutive tags; a node of level n is `n:<number>`, and its value the sum, in ms, of
-- what lies below it. So the work ahead of a job costs a walk up the tree, however many jobs wait. Within a leaf, and
-- right before a job, the jobs themselves are read; of more than MOST_READ in one leaf the rest is taken to be like those
-- that were read.
-- Stands on keys.

local LEAF = 256
local RADIX = 16
local LEVELS = 12 -- LEAF * RADIX ^ LEVELS = 2 ^ 56: further than a score counts one by one
local MOST_READ = 1000
local MOST_NEAR = 8 -- jobs that are read rather than looked up in the tree

-- A job's name in the order: equal tags go by arrival, and its work can be read without its record.
local function member_of(sequence, id, work_ms)
  return string.format('%016.0f:%s:%.0f', sequence, id, work_ms)
end

local function id_in(member)
  return string.match(member, '^%d+:([^:]+):')
end

local function work_in(member)
  return tonumber(string.match(member, '^%d+:[^:]+:(%d+)$'))
end

local function add_to_node(work, level, node, ms)
  local name = level .. ':' .. node
  if redis.call('HINCRBY', work, name, ms) == 0 then redis.call('HDEL', work, name) end
end

local function add_work(work, tag, ms)
  local names, node = {}, math.floor(tag / LEAF)
  for level = 0, LEVELS - 1 do
    names[#names + 1] = level .. ':' .. node
    node = math.floor(node / RADIX)
  end
  local sums, emptied = {}, {}
  for at, before in ipairs(redis.call('HMGET', work, unpack(names))) do
    local sum = (before or 0) + ms
    if sum == 0 then
      emptied[#emptied + 1] = names[at]
    else
      sums[#sums + 1] = names[at]
      sums[#sums + 1] = sum
    end
  end
  if sums[1] then redis.call('HSET', work, unpack(sums)) end
  if emptied[1] then redis.call('HDEL', work, unpack(emptied)) end
end

-- From one tag to another: the nodes above both stay as they are.
local function move_work(work, from, to, ms)
  local left, entered, level = math.floor(from / LEAF), math.floor(to / LEAF), 0
  while left ~= entered do
    add_to_node(work, level, left, -ms)
    add_to_node(work, level, entered, ms)
    left, entered, level = math.floor(left / RADIX), math.floor(entered / RADIX), level + 1
  end
end

local function nodes(work, level, first, count)
  local names = {}
  for at = 1, count do names[at] = level .. ':' .. (first + at - 1) end
  local values = redis.call('HMGET', work, unpack(names))
  for at = 1, count do values[at] = tonumber(values[at] or 0) end
  return values
end

-- The lowest node above all jobs of an order that is not empty: its level and number.
local function crown_of(order)
  local lowest = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')[2]
  local highest = redis.call('ZRANGE', order, -1, -1, 'WITHSCORES')[2]
  local first, last, level = math.floor(lowest / LEAF), math.floor(highest / LEAF), 0
  while first ~= last do
    first, last, level = math.floor(first / RADIX), math.floor(last / RADIX), level + 1
  end
  return level, first
end

-- Jobs of the order that stand before a leaf.
local function count_before(order, leaf)
  return redis.call('ZCOUNT', order, '-inf', '(' .. string.format('%.0f', leaf * LEAF))
end

-- The sum of these members' work, given as {member, tag, ...}: of those that stand under `begins` or behind it.
local function work_of(members, begins)
  local sum = 0
  for at = 1, #members, 2 do
    if tonumber(members[at + 1]) >= begins then sum = sum + work_in(members[at]) end
  end
  return sum
end

-- The work in ms of the `rank` jobs before the job that stands at that rank under that tag. Those right before it are
-- read, and the tree is asked for the rest, from the highest node up within which no other stands before it.
local function work_before(order, work, tag, rank)
  if rank == 0 then return 0 end
  local near = redis.call('ZRANGE', order, math.max(0, rank - MOST_NEAR), rank - 1, 'WITHSCORES')
  if rank <= MOST_NEAR then return work_of(near, 0) end
  local farthest = tonumber(near[2])
  local level, node, span, total = 0, math.floor(tag / LEAF), LEAF, 0
  if node * span > farthest then
    while math.floor(node / RADIX) * RADIX * span > farthest do
      level, node, span = level + 1, math.floor(node / RADIX), span * RADIX
    end
    total = work_of(near, node * span)
  else
    local first = count_before(order, node)
    local inside = rank - first
    local read, sum = math.min(inside, MOST_READ), 0
    for _, member in ipairs(redis.call('ZRANGE', order, first, first + read - 1)) do sum = sum + work_in(member) end
    total = math.floor(sum * inside / read)
  end
  local names = {}
  for above = level, crown_of(order) - 1 do
    for sibling = node - node % RADIX, node - 1 do names[#names + 1] = above .. ':' .. sibling end
    node = math.floor(node / RADIX)
  end
  if #names == 0 then return total end
  for _, ms in ipairs(redis.call('HMGET', work, unpack(names))) do total = total + (ms or 0) end
  return total
end

-- How many jobs begin while less than `budget` ms of the order's work is done.
local function begun_within(order, work, budget)
  if budget <= 0 then return 0 end
  local sum, top, node = 0, crown_of(order)
  for level = top - 1, 0, -1 do
    local child
    for at, ms in ipairs(nodes(work, level, node * RADIX, RADIX)) do
      if ms > 0 and sum + ms >= budget then
        child = node * RADIX + at - 1
        break
      end
      sum = sum + ms
    end
    if not child then return redis.call('ZCARD', order) end
    node = child
  end
  local count = count_before(order, node)
  local inside = math.min(count_before(order, node + 1) - count, MOST_READ)
  local read = redis.call('ZRANGE', order, count, count + inside - 1)
  local before = sum
  for _, member in ipairs(read) do
    if sum >= budget then return count end
    count, sum = count + 1, sum + work_in(member)
  end
  if #read == MOST_READ and sum < budget then
    local rest = math.floor((budget - sum) * #read / (sum - before))
    return math.min(count + rest, redis.call('ZCARD', order))
  end
  return count
end
