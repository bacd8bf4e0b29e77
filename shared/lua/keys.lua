-- The names of all keys; shared/keys.py tells their types and lives.
--
-- KEYS[1]  prefix

local key = {
  sequence = KEYS[1] .. 'sequence',
  change = KEYS[1] .. 'change',
  models = KEYS[1] .. 'models',
  stale = KEYS[1] .. 'stale',
  leases = KEYS[1] .. 'leases',
  graced = KEYS[1] .. 'graced',
  swept = KEYS[1] .. 'swept',
  deadlines = KEYS[1] .. 'deadlines',
  expiry = KEYS[1] .. 'expiry',
  trash = KEYS[1] .. 'trash',
  set_aside = KEYS[1] .. 'set_aside',
  failed = KEYS[1] .. 'failed',
  tallies = KEYS[1] .. 'tallies',
  modes = KEYS[1] .. 'modes',
  cards = KEYS[1] .. 'cards',
  workers = KEYS[1] .. 'workers',
  born = KEYS[1] .. 'born',
  access_keys = KEYS[1] .. 'access_keys',
  tenants = KEYS[1] .. 'tenants',
  changes = KEYS[1] .. 'changes', -- a channel
  outbox = KEYS[1] .. 'outbox',
  couriers = KEYS[1] .. 'couriers',
  feeding = KEYS[1] .. 'feeding',
  erasing = KEYS[1] .. 'erasing',
}
function key.job(id) return KEYS[1] .. 'job:' .. id end
function key.jobs(tenant) return KEYS[1] .. 'jobs:' .. tenant end
function key.changed(tenant) return KEYS[1] .. 'changed:' .. tenant end
function key.running(tenant) return KEYS[1] .. 'running:' .. tenant end
function key.parked(tenant) return KEYS[1] .. 'parked:' .. tenant end
function key.order(model, lane) return KEYS[1] .. 'order:' .. lane .. ':' .. model end
function key.heads(model, lane) return KEYS[1] .. 'heads:' .. lane .. ':' .. model end
function key.used(model, lane) return KEYS[1] .. 'used:' .. lane .. ':' .. model end
function key.work(model, lane) return KEYS[1] .. 'work:' .. lane .. ':' .. model end
function key.line(model, lane, tenant) return KEYS[1] .. 'line:' .. lane .. ':' .. tenant .. ':' .. model end
function key.lanes(model) return KEYS[1] .. 'lanes:' .. model end
function key.claim(token) return KEYS[1] .. 'claim:' .. token end
function key.preview(id) return KEYS[1] .. 'preview:' .. id end
function key.request(tenant, digest) return KEYS[1] .. 'request:' .. tenant .. ':' .. digest end
function key.result(tenant, digest) return KEYS[1] .. 'result:' .. tenant .. ':' .. digest end
function key.followers(id) return KEYS[1] .. 'followers:' .. id end
function key.holders(id) return KEYS[1] .. 'holders:' .. id end
function key.idle(model) return KEYS[1] .. 'idle:' .. model end
function key.card(model) return KEYS[1] .. 'card:' .. model end
function key.vocabulary(model) return KEYS[1] .. 'vocabulary:' .. model end
function key.worker(id) return KEYS[1] .. 'worker:' .. id end
function key.webhooks(tenant) return KEYS[1] .. 'webhooks:' .. tenant end
function key.webhook(id) return KEYS[1] .. 'webhook:' .. id end
function key.pending(webhook) return KEYS[1] .. 'pending:' .. webhook end
function key.deliveries(webhook) return KEYS[1] .. 'deliveries:' .. webhook end
function key.delivery(id) return KEYS[1] .. 'delivery:' .. id end
function key.batch(id) return KEYS[1] .. 'batch:' .. id end
function key.batches(tenant) return KEYS[1] .. 'batches:' .. tenant end
function key.lines(batch) return KEYS[1] .. 'lines:' .. batch end
function key.line_jobs(batch) return KEYS[1] .. 'line_jobs:' .. batch end
function key.unended(batch) return KEYS[1] .. 'unended:' .. batch end
function key.access(id) return KEYS[1] .. 'access:' .. id end
function key.history(period_s, number) return KEYS[1] .. 'history:' .. period_s .. ':' .. number end
function key.limits(tenant) return KEYS[1] .. 'limits:' .. tenant end
