package main

// Names of the systems that are compared.
const (
	raw        = "raw"
	rawReaders = "raw, a reader each"
	rawBatches = "raw, 64 to a write"
	framed     = "framing"
	natsName   = "NATS"
)

// systems are the ways to exchange messages, by name. Those that are raw differ in the leader only.
var systems = map[string]system{
	raw:        {follow: followRaw, lead: leadRaw},
	rawReaders: {follow: followRaw, lead: leadWithReaders},
	rawBatches: {follow: followRaw, lead: leadBatches},
	framed:     {follow: followFramed, lead: leadFramed},
	natsName:   {follow: followNATS, lead: leadNATS},
}
