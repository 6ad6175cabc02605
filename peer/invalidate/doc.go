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

// How it works, for maintainers.
//
// # The version table
//
// On Linux, the processes share a version table: counters in memory that all have mapped, see package versioned. A change is an
// atomic addition there. All processes see it at once: no process has to receive or confirm a message, even if some hang or are
// dead. The memory has no name in any directory. The first process makes it. A new process receives its descriptor from another
// process over the mesh, or opens it through /proc if that process hangs: [host].
//
// # Messages
//
// Processes that do not share a table, since one of them cannot open it or has it disabled, send each other messages.
//
// Each process is a [writer] and a [holder], and knows the others by its [membership]. A writer numbers its changes from 1: the
// keys, tags and updates of one message. They are its stream, of one random session, and each holder applies it in order. A
// holder has a lease, a time until which it serves stored values. To renew it, the holder makes a round: it asks each other
// process that has the cache. Each of them notes until when the holder may serve, and answers with the number of its last
// change. When the holder has applied every stream up to that number, its lease runs on, counted from before it has asked. So a
// writer waits, for each holder whose lease runs, until the holder has confirmed the change, is dead or has left, or until its
// lease from the time before the change is over: after that it serves again only when it has applied the change.
//
// The other processes do not know a new one. Its first round asks all live processes in the rendezvous directory, after a flush
// of the bus. After the flush, of two processes that start at the same time, one knows the subscription of the other. Until
// that round has succeeded, the new process stores and serves nothing, and its Invalidate does not return nil. From then on it
// knows all processes to ask: a later one has to ask it first.
//
// The rules, and the one place that holds each:
//
//  1. A load has a token, the counters of the table. A change of its key voids it; what it returns is not stored then, nor
//     served, and no Get joins it any more: [versioned.Store.finishLocked], [versioned.values.isFresh], [versioned.Store.join].
//  2. A holder confirms a change after it has applied it, in order, and with it all before: [stream.change].
//  3. Nothing is stored or served before the first round has succeeded with all live processes: [membership.renew].
//  4. A process stops serving before it closes its end of a link, its subscription or its bus, or leaves the directory: [group.leave];
//     and as soon as it knows that a link is lost: [membership.lost]. So a process that has left serves nothing.
//  5. The end of a link proves nothing, whichever side has ended it. A confirmation, the death or the leaving of the holder, or
//     the end of its lease are proofs: [batch.wait].
//  6. Stored values are served only while the lease runs. A lease that was over begins again with nothing stored:
//     [versioned.Lease.Runs], [membership.renew].
//  7. At a gap in a stream, an unknown session or an unreadable message, all values are dropped, and the stream is synchronized
//     again: [stream.desync].
//  8. Each value has a longest life, and Options.Version refuses an older one: [versioned.values.isFresh], [versioned.values.put].
//  9. A process is skipped only if it maps the same table: its slot names it, and the kernel shows that the slot's lock is held:
//     [versioned.Table.Has]. That is decided before a process sends any message of the cache.
//  10. An update whose writer ends in it, or whose commit fails, stays open for Options.CommitTimeout: [versioned.Table.isSettled],
//     [inDoubt]. By messages, each holder adopts the open updates of a dead writer into its own stream, [membership.adopt], so
//     that a new process receives them before it is granted a lease: [writer.isToldLocked]. A holder that cannot know them,
//     as its lease was over, stores nothing for that time: [versioned.values.Distrust]. Nor does a new process that shares no
//     memory with the processes whose table has the mark of an update.
//
// # Races
//
// A Get that starts after an Invalidate has returned, and depends on it, knows of it by something that orders memory, as a
// message does: so it sees the counter, see the Go memory model on sync/atomic.
//
// A load and an update that begin at the same time: by the order of the table, the load sees the mark, or its counter is void.
//
// A load that ends while a tag is dropped: the tags of a value are known only then. By the order of the table, the load is
// void, or the value that it stores is.
//
// Two tables, since a process had no link to the processes with a table: within each of the two groups, the table is shared, and
// between them go messages, as the lock of a slot belongs to one memory. A copy of a table is another table.
//
// Get reads the value first and the lease afterwards, so the value was good when the lease was read, which is after Get was
// called. A Get that is stopped in between by SIGSTOP and returns the value much later was called before the change.
//
// A load that has begun before a change and returns after it: rule 1; what it stores has the counter from before.
// One that begins after the writer's commit and before the change is applied here is voided as well, for nothing.
//
// A Get that finds a load on its way joins it only while the lease runs and the token holds. Else it waits for the next
// load, which begins later than the Get.
//
// A round that was asked before a change and answered before it: the writer has noted the lease, and waits for it. Answered
// after it: the answer has the number of the change, and the holder's lease does not run before it has applied it.
//
// A round that was on its way when a new process came, or when a stream was lost: it renews nothing, see membership.gen.
//
// A process that is stopped in a round, or in Get, or with changes in its sockets: its lease counts from before the round.
//
// An answer that overtakes the changes before it: the holder waits for them.
//
// A writer that leaves while it waits for confirmations, so that its peers do not ask it for a lease any more: its Invalidate
// returns an error.
//
// A writer that leaves in Update, while its commit goes on: for its peers the writer has ended in it, rule 10. Its Update
// returns an error. A server that has answered its requests before it leaves has no such update.
//
// A bus that closes before its mesh, as that of a node of a cluster: its peers see the end of the subscription, and wait for
// the process no longer, while it still lives. It has left before they see that.
//
// A change that is refused at a bound of the bus is a gap for that holder, and thereby a flush.
//
// A writer that dies in Update: the keys of the update are blocked in each holder that serves, rule 10. A holder that was
// synchronized with the stream later received the keys with it.
//
// A process that comes while a writer dies: its questions name the processes that it has found alive, and no process with a
// member that is not among them grants it a lease. If a process that it asks dies in the first round, it asks all again.
//
// A cache that is closed and made again in the same process: another session.
