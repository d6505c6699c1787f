//! Dynamo's ring: tokens, partitions, preference lists, zone spread, placement, epochs (§4.2, 4.3, 6.2)
