export type { IoredisClient, NodeRedisClient, RedisClient } from "./client.js";
export {
  type IoredisCacheClient,
  type NodeRedisCacheClient,
  type RedisCacheOptions,
  redisCache,
} from "./redis-cache.js";
export { type RedisStoreOptions, redisStore } from "./redis-store.js";
