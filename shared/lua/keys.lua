-- The names of all keys; shared/keys.py tells their types and lives.

local key = {} -- `key.changes` is a channel

local SINGLE = {
  'sequence', 'change', 'models', 'stale', 'leases', 'graced', 'swept', 'deadlines', 'expiry', 'trash', 'set_aside',
  'failed', 'tallies', 'modes', 'cards', 'workers', 'born', 'access_keys', 'tenants', 'changes', 'outbox',
  'couriers', 'feeding', 'erasing', 'libraries', 'meters', 'parts',
}

-- Name the keys that begin with `prefix`: those of this call.
local function name_keys(prefix)
  if key.prefix == prefix then return end
  key.prefix = prefix
  for _, name in ipairs(SINGLE) do key[name] = prefix .. name end
  key.layouts = string.gsub(prefix, '%d+:$', '') .. 'layouts' -- of all layouts the same
end

function key.job(id) return key.prefix .. 'job:' .. id end
function key.jobs(tenant) return key.prefix .. 'jobs:' .. tenant end
function key.changed(tenant) return key.prefix .. 'changed:' .. tenant end
function key.running(tenant) return key.prefix .. 'running:' .. tenant end
function key.parked(tenant) return key.prefix .. 'parked:' .. tenant end
function key.order(model, lane) return key.prefix .. 'order:' .. lane .. ':' .. model end
function key.heads(model, lane) return key.prefix .. 'heads:' .. lane .. ':' .. model end
function key.used(model, lane) return key.prefix .. 'used:' .. lane .. ':' .. model end
function key.work(model, lane) return key.prefix .. 'work:' .. lane .. ':' .. model end
function key.line(model, lane, tenant) return key.prefix .. 'line:' .. lane .. ':' .. tenant .. ':' .. model end
function key.beyond(model, lane, needs) return key.prefix .. 'beyond:' .. needs .. ':' .. lane .. ':' .. model end
function key.beyond_line(model, lane, tenant)
  return key.prefix .. 'beyond_line:' .. lane .. ':' .. tenant .. ':' .. model
end
function key.lanes(model) return key.prefix .. 'lanes:' .. model end
function key.claim(token) return key.prefix .. 'claim:' .. token end
function key.preview(id) return key.prefix .. 'preview:' .. id end
function key.request(tenant, digest) return key.prefix .. 'request:' .. tenant .. ':' .. digest end
function key.result(tenant, digest) return key.prefix .. 'result:' .. tenant .. ':' .. digest end
function key.followers(id) return key.prefix .. 'followers:' .. id end
function key.holders(id) return key.prefix .. 'holders:' .. id end
function key.idle(model) return key.prefix .. 'idle:' .. model end
function key.card(model) return key.prefix .. 'card:' .. model end
function key.vocabulary(model) return key.prefix .. 'vocabulary:' .. model end
function key.speeds(model) return key.prefix .. 'speeds:' .. model end
function key.scaled(model) return key.prefix .. 'scaled:' .. model end
function key.worker(id) return key.prefix .. 'worker:' .. id end
function key.webhooks(tenant) return key.prefix .. 'webhooks:' .. tenant end
function key.webhook(id) return key.prefix .. 'webhook:' .. id end
function key.pending(webhook) return key.prefix .. 'pending:' .. webhook end
function key.deliveries(webhook) return key.prefix .. 'deliveries:' .. webhook end
function key.delivery(id) return key.prefix .. 'delivery:' .. id end
function key.batch(id) return key.prefix .. 'batch:' .. id end
function key.batches(tenant) return key.prefix .. 'batches:' .. tenant end
function key.lines(batch) return key.prefix .. 'lines:' .. batch end
function key.line_jobs(batch) return key.prefix .. 'line_jobs:' .. batch end
function key.unended(batch) return key.prefix .. 'unended:' .. batch end
function key.access(id) return key.prefix .. 'access:' .. id end
function key.history(period_s, number) return key.prefix .. 'history:' .. period_s .. ':' .. number end
function key.metered(source) return key.prefix .. 'metered:' .. source end
function key.limits(tenant) return key.prefix .. 'limits:' .. tenant end
