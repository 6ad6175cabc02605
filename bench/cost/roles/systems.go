package roles

// Names of the systems that are compared.
const (
	Raw        = "raw"
	RawReaders = "raw, a reader each"
	RawBatches = "raw, 64 to a write"
	Framing    = "framing"
	Bus        = "bus"
	NATS       = "NATS"
	Cache      = "cache"
	// CacheMessages is the cache without shared memory.
	CacheMessages = "cache, messages"
	NATSCached    = "NATS, a cache each"
	RedisCached   = "Redis, a cache each"
)

// systems are the ways to exchange messages, by name, and those to join. Those that are raw differ in the leader only.
var systems = map[string]system{
	Raw:           {follow: followRaw, lead: leadRaw},
	RawReaders:    {follow: followRaw, lead: leadWithReaders},
	RawBatches:    {follow: followRaw, lead: leadBatches},
	Framing:       {follow: followFramed, lead: leadFramed},
	Bus:           {follow: followBus, lead: leadBus},
	NATS:          {follow: followNATS, lead: leadNATS},
	Cache:         {follow: followCache, lead: leadCache},
	CacheMessages: {follow: followCache, lead: leadCache},
	NATSCached:    {follow: followNATSCache, lead: leadNATSCache},
	RedisCached:   {follow: followRedisCache, lead: leadRedisCache},

	Trivial: {follow: followTrivial},
	Hello:   {follow: followHello},
	Mesh:    {follow: followMesh},
}
