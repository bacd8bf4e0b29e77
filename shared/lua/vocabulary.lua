-- vocabulary: tell by which vocabulary a model's texts are read.
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  digest of the one that the asker has; '' for none
--
-- Replies
--   OK digest packed
--   SAME               it is the one that the asker has
--   MISSING            no worker has handed one over
--
-- Flags no-writes
-- Moves nothing

local digest, packed = unpack(redis.call('HMGET', key.vocabulary(ARGV[1]), 'digest', 'packed'))
if not digest then return {'MISSING'} end
if digest == ARGV[2] then return {'SAME'} end
return {'OK', digest, packed}
