package cost

// Names of the systems that are compared.
const (
	raw        = "raw"
	rawReaders = "raw, a reader each"
	rawBatches = "raw, 64 to a write"
	framed     = "framing"
	busName    = "bus"
	natsName   = "NATS"
	cacheName  = "cache"
	// cacheMessages is the cache without shared memory.
	cacheMessages = "cache, messages"
	natsCached    = "NATS, a cache each"

	redisName   = "Redis"
	redisCached = "Redis, a cache each"
)

// systems are the ways to exchange messages, by name, and those to join. Those that are raw differ in the leader only.
var systems = map[string]system{
	raw:           {follow: followRaw, lead: leadRaw},
	rawReaders:    {follow: followRaw, lead: leadWithReaders},
	rawBatches:    {follow: followRaw, lead: leadBatches},
	framed:        {follow: followFramed, lead: leadFramed},
	busName:       {follow: followBus, lead: leadBus},
	natsName:      {follow: followNATS, lead: leadNATS},
	cacheName:     {follow: followCache, lead: leadCache},
	cacheMessages: {follow: followCache, lead: leadCache},
	natsCached:    {follow: followNATSCache, lead: leadNATSCache},
	redisCached:   {follow: followRedisCache, lead: leadRedisCache},

	trivial:  {follow: followTrivial},
	hello:    {follow: followHello},
	meshName: {follow: followMesh},
}
