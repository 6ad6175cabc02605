// Package invalidate keeps values in the memory of each process of a mesh, and none of them is ever stale: when Invalidate
// has returned nil, each Get that starts later, in any of the processes, returns a value whose load began after Invalidate
// was called.
//
//	products, err := invalidate.New(node.Bus(), invalidate.Options[int, Product]{Name: "products"}, loadProduct)
//	p, err := products.Get(ctx, 7)      // from memory, or by loadProduct
//	err = db.SetPrice(ctx, 7, 300)
//	err = products.Invalidate(ctx, 7)   // nil: no process has the old price any more
//	err = products.Update(ctx, []int{7}, setPrice) // the same, even if this process dies while setPrice runs
//
// Each process that calls Get or Invalidate makes a cache with the same name and the same kind of keys. With a nil bus there is
// no other process.
//
// It does not cover: values that Get has returned already; a loader that reads old data, from a replica that lags or from
// another cache; writes without a call of Invalidate, which are seen after Options.Life; an update whose writer dies together
// with all other processes that have the cache.
package invalidate

// How it works, for those who change it.
//
// # The version table
//
// On Linux, the processes share a version table: counters in memory that all have mapped, see package versioned. A change is an
// atomic addition there. It is seen by all processes at once, whatever they are doing: nobody has to be told or to confirm, and
// it does not matter who hangs or is dead. The memory has no name in any directory. A process that comes gets its descriptor from
// another one over the mesh, or from /proc if that one hangs; the first one makes it: [host].
//
// # Messages
//
// Processes that do not share a table, since one of them could not open it or is not to, tell each other by messages.
//
// Each process is a [writer] and a [holder], and knows the others by its [membership]. A writer numbers its changes from 1: the
// keys, tags and updates of one message. They are its stream, of one random session, and each holder applies it in order. A
// holder has a lease, a time until which it serves what it has stored. To renew it, it asks each other process that has the
// cache, a round: each notes until when the holder may serve, and answers with the number of its last change. When the holder
// has applied as much of every stream, its lease runs on, counted from before it has asked. So a writer waits, for each holder
// whose lease runs, until that has confirmed the change, is dead or has left, or its lease from the time before the change is
// over: after that it serves again only when it has applied the change.
//
// A process that is new is not known to those that were there. Its first round asks all that live in the rendezvous
// directory, after a flush of the bus, which tells each of the two of the subscription of at least one: so of two that
// come at the same time, one knows the other. Until that round has succeeded, it stores and serves nothing, and its
// Invalidate does not return nil. Later it knows whom to ask: whoever comes has to ask it first.
//
// The rules, and the one place that holds each:
//
//  1. A load has a token, the counters of the table. A change of its key voids it; what it returns is not stored then, nor
//     served, and nobody joins it any more: [versioned.Store.finishLocked], [versioned.values.isFresh], [versioned.Store.join].
//  2. A holder confirms a change after it has applied it, in order, and with it all before: [stream.change].
//  3. Nothing is stored or served before the first round has succeeded with all that live: [membership.renew].
//  4. A process stops serving before it closes its end, its subscription or its bus, or leaves the directory: [group.leave];
//     and as soon as it knows that a link is lost: [membership.lost]. So one that has left serves nothing.
//  5. A link that has ended proves nothing, whoever has ended it. Confirmed, dead, left, or the end of the lease are
//     proofs: [batch.wait].
//  6. Stored values are served only while the lease runs, and one that was over begins again with nothing: [versioned.Lease.Runs],
//     [membership.renew].
//  7. A gap in a stream, an unknown session or something that cannot be read: all is thrown away, and the stream is taken
//     up anew: [stream.desync].
//  8. Each value has a longest life, and Options.Version refuses an older one: [versioned.values.isFresh], [versioned.values.put].
//  9. Who is not asked and not waited for has the very same table, by its slot and by the kernel, which knows of the lock:
//     [versioned.Table.Has]. That is decided before a process says anything of the cache to anybody.
//  10. An update whose writer ends in it, or whose commit fails, stays open for Options.CommitTimeout: [versioned.Table.isSettled],
//     [inDoubt]. By messages, each holder takes over what the writer had begun, so that a process that comes hears of it:
//     [membership.adopt], before it is granted a lease: [writer.isToldLocked]. A holder that cannot know what the writer had
//     begun, as its lease was over, stores nothing for that time, [versioned.values.Distrust], nor does a process that comes
//     and shares no memory with those that have the mark of an update on their table.
//
// # Races
//
// A Get that starts after an Invalidate has returned, and knows it, has learned it from something that orders memory, as a
// message does: so it sees the counter, see the Go memory model on sync/atomic.
//
// A load and an update that begin at the same time: by the order of the table, the load sees the mark, or its counter is void.
//
// A load that ends while a tag is dropped: the tags of a value are known only then. By the order of the table, the load is
// void, or what it stores is.
//
// Two tables, since a process found no link to those that have one: those that share a table do, and between the two groups
// go messages, as the lock of a slot is one of its memory. A copy of a table is another one.
//
// A value is read first and the lease looked at afterwards, so the value was good at the time of that look, which is after
// Get was called. What is stopped in between by SIGSTOP and returns the value much later has been called before.
//
// A load that has begun before a change and returns after it: rule 1; what it stores has the counter from before.
// One that begins after the writer's commit and before the change is applied here is voided as well, for nothing.
//
// A Get that finds a load on its way joins it only while the lease runs and the token holds. Else it waits for the next
// one, which begins later than itself.
//
// A round that was asked before a change and answered before it: the writer has noted the lease, and waits for it. Answered
// after it: the answer has the number of the change, and the holder's lease does not run before it has applied it.
//
// A round that was on its way when somebody new came, or when a stream was lost: it renews nothing, see membership.gen.
//
// A process that is stopped in a round, or in Get, or with changes in its sockets: its lease counts from before the round.
//
// An answer that overtakes the changes before it: the holder waits for them.
//
// A writer that leaves while it waits for confirmations, so that its peers need no lease from it any more: its Invalidate
// returns an error.
//
// A writer that leaves in Update, while its commit goes on: for its peers the writer has ended in it, rule 10. Its Update
// returns an error. A server that has answered its requests before it leaves has no such update.
//
// A bus that closes before its mesh, as that of a node of a cluster: its peers hear that the cache is not on it any more, and
// wait for it no longer, while it still lives. It has left before they hear that.
//
// A change that is refused at a bound of the bus is a gap for that holder, and thereby a flush.
//
// A writer that dies in Update: the keys that it has begun with are blocked in each holder that serves, rule 10. A holder that
// took up the stream later got the keys with it.
//
// A process that comes while a writer dies: it tells the others whom it has found alive, and none grants it a lease that has
// another member still. If a process that it asks dies in the first round, it asks all again.
//
// A cache that is closed and made again in the same process: another session.
