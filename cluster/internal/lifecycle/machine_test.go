package lifecycle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// choices decide what happens next. When they are used up, the world continues without faults.
type choices struct{ bytes []byte }

func (c *choices) next(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % n
}

// process is a worker as it is, whatever the machine thinks of it.
type process struct {
	Info
	ready, linked, known, asked, dumped, killed, stuck bool
}

// heir is a successor as it is, whatever the machine thinks of it.
type heir struct {
	alive, stuck, hungUp      bool
	prepared, told, done      bool // told: it may have the lock
	refused, signaled, killed bool
	leaving, back             bool
	has                       bool // it may have the workers
}

// world carries out what a machine wants, at some time and not always well.
type world struct {
	tb      testing.TB
	m       *Machine
	choices *choices
	now     time.Time
	alive   map[int]*process
	starts  []Start           // that are to be carried out
	outside []int             // orders that wait for Done
	owed    []func(well bool) // what is to be answered in a takeover
	next    *heir             // the last successor
	settled bool              // Settled was told
	deposed bool              // a successor is the master
	lost    bool              // yet another process is
	asked   []int             // probes
	lastID  int
	lastSeq int
	open    map[int]bool // orders without an answer
	events  []Event      // all that the machine was told
	times   []time.Time
	actions [][]Action // what it has answered
	ended   bool
	least   int // ready workers that are not asked to leave, since the last reset
}

func newWorld(tb testing.TB, cfg Config, c *choices) *world {
	tb.Helper()
	return &world{
		tb: tb, m: New(cfg), choices: c, now: time.Unix(1e9, 0), alive: make(map[int]*process), open: make(map[int]bool),
	}
}

func (w *world) tell(e Event) {
	w.events, w.times = append(w.events, e), append(w.times, w.now)
	out := w.m.Handle(e, w.now)
	w.actions = append(w.actions, out)
	for _, a := range out {
		w.carryOut(a)
	}
	w.check()
}

func (w *world) carryOut(a Action) {
	w.tb.Helper()
	require.False(w.tb, w.ended && !isAnswer(a), "%T after the end", a)
	switch a := a.(type) {
	case Start:
		require.Nil(w.tb, w.m.lent, "a successor has the workers")
		isOpen := func(slot *slot) bool { return slot.number == a.Slot && !slot.closed }
		require.True(w.tb, slices.ContainsFunc(w.m.slots, isOpen), "slot %d is not to be filled", a.Slot)
		w.starts = append(w.starts, a)
	case Ask:
		require.Nil(w.tb, w.m.lent, "a successor has the workers")
		if p := w.alive[a.ID]; p != nil && (p.linked || !p.known) { // else the request does not reach it
			p.asked = true
		}
	case Dump:
		require.Nil(w.tb, w.m.lent, "a successor has the workers")
		if p := w.alive[a.ID]; p != nil {
			late := w.m.workers[a.ID].hung == "did not leave in time"
			require.True(w.tb, !late || p.asked || !p.linked, "worker %d was not asked to leave", a.ID)
			p.dumped = true
		}
	case Kill:
		if p := w.alive[a.ID]; p != nil {
			p.killed = true
		}
	case Probe:
		w.asked = append(w.asked, a.ID)
	case Measure:
		w.tell(Missed{ID: ID(a.ID), Elapsed: a.Elapsed})
	case StartSuccessor:
		require.True(w.tb, w.next == nil || !w.next.alive, "there is a successor")
		w.owed = append(w.owed, func(well bool) {
			if !well {
				w.tell(SuccessorStarted{Err: errors.New("it cannot be started")})
				return
			}
			w.next = &heir{alive: true}
			w.tell(SuccessorStarted{PID: 77})
		})
	case LendAll:
		w.next.has = true
		w.tell(Lend{w.lastID})
		w.owed = append(w.owed, func(well bool) {
			if !well {
				w.tell(Lent{Free: w.choices.next(2) == 0, Err: errors.New("it cannot be lent")})
				return
			}
			w.tell(Lent{Free: true})
		})
	case Say:
		w.next.told = w.next.told || a.Word == WordGo
		w.next.refused = w.next.refused || a.Word == WordNo
	case SignalSuccessor:
		w.next.signaled = true
	case KillSuccessor:
		w.next.killed = true
	case Depose:
		require.True(w.tb, w.next.done, "it has not said that it is the master")
		require.False(w.tb, w.m.ending, "the cluster is about to stop")
		w.deposed = w.choices.next(3) < 2
		w.tell(Deposed{w.deposed})
		require.Equal(w.tb, w.deposed, w.ended)
		if !w.deposed {
			w.tell(Ending{})
		}
	case Regain:
		require.False(w.tb, w.hasSuccessor(), "the successor has not given back")
		w.owed = append(w.owed, func(well bool) {
			w.lost = !well && a.Free
			if w.lost {
				w.tell(Ending{})
			}
			w.tell(Regained{LastID: w.lastID, Lost: w.lost})
		})
	case HangUp:
		require.False(w.tb, w.next.alive, "the successor has not ended")
	case StopAll:
		w.tell(Ending{})
	case Settled:
		require.False(w.tb, w.settled, "it is told twice")
		require.False(w.tb, w.hasSuccessor(), "a successor has the workers")
		require.True(w.tb, w.m.ending, "no caller waits")
		w.settled = true
	case Room:
		w.outside = append(w.outside, a.Seq)
	case LeavePorts:
		w.outside = append(w.outside, a.Seq)
	case Answer:
		require.True(w.tb, w.open[a.Seq], "order %d is answered twice, or was never given", a.Seq)
		delete(w.open, a.Seq)
	case End:
		w.ended = true
	}
}

func isAnswer(a Action) bool {
	switch a.(type) {
	case Answer, HandedOver, Note:
		return true
	default:
		return false
	}
}

// hasSuccessor reports whether a successor has what is ours.
func (w *world) hasSuccessor() bool {
	return w.next != nil && w.next.has && w.next.alive && !w.next.back
}

// check holds what is always so.
func (w *world) check() {
	w.tb.Helper()
	roles := make(map[string]int)
	for _, one := range slices.Concat(w.m.sorted(), w.m.starting) {
		if !one.slot.closed && one.role != retiring {
			roles[fmt.Sprint("slot ", one.slot.number, " role ", one.role)]++
		}
	}
	for what, count := range roles {
		if count != 1 {
			w.dump()
		}
		require.Equal(w.tb, 1, count, "%s", what)
	}
	for id := range w.alive {
		require.True(w.tb, w.ended || w.m.workers[id] != nil, "worker %d is forgotten", id)
	}
	serving := 0
	for _, p := range w.alive {
		if p.ready && !p.asked && !p.dumped && !p.killed {
			serving++
		}
	}
	w.least = min(w.least, serving)
}

// start carries out the oldest Start.
func (w *world) start(well bool) {
	s := w.starts[0]
	w.starts = w.starts[1:]
	w.lastID++
	info := Info{ID: w.lastID, Slot: s.Slot, Generation: s.Generation, PID: 1000 + w.lastID}
	if !well {
		info.ID = -s.Slot
		w.tell(StartFailed{info, Exit{Reason: "cannot be started"}})
		return
	}
	w.alive[info.ID] = &process{Info: info}
	w.tell(Started{info})
}

func (w *world) exit(p *process, e Exit) {
	delete(w.alive, p.ID)
	w.tell(Exited{ID(p.ID), e})
}

// some returns the living processes by id.
func (w *world) some(is func(*process) bool) (all []*process) {
	for id := range w.lastID + 1 {
		if p := w.alive[id]; p != nil && is(p) {
			all = append(all, p)
		}
	}
	return all
}

// proceed does what the orderly world does next. It returns false when only time has to pass.
func (w *world) proceed() bool {
	if len(w.starts) > 0 {
		w.start(true)
		return true
	}
	if len(w.owed) > 0 {
		w.answer(true)
		return true
	}
	if w.proceedSuccessor() {
		return true
	}
	for _, p := range w.some(func(p *process) bool { return !p.stuck }) {
		switch {
		case p.killed:
			w.exit(p, Exit{Reason: "signal: killed"})
		case p.dumped:
			w.exit(p, Exit{Reason: "exit code 2"})
		case !p.linked:
			p.linked, p.known = true, true
			w.tell(Linked{ID(p.ID)})
		case p.asked:
			w.tell(Drained{ID: ID(p.ID), Took: time.Millisecond})
			w.exit(p, Exit{Reason: "exit code 0", Done: true})
		case !p.ready:
			p.ready = true
			w.tell(Ready{ID: ID(p.ID)})
		default:
			continue
		}
		return true
	}
	for _, p := range w.some(func(p *process) bool { return p.killed }) { // nothing stops that
		w.exit(p, Exit{Reason: "signal: killed"})
		return true
	}
	if len(w.asked) > 0 {
		id := w.asked[0]
		w.asked = w.asked[1:]
		if p := w.alive[id]; p != nil && !p.stuck {
			w.tell(Answered{ID(id)})
		} else {
			w.tell(Missed{ID: ID(id), Over: true})
		}
		return true
	}
	if len(w.outside) > 0 {
		seq := w.outside[0]
		w.outside = w.outside[1:]
		w.tell(Done{Seq: seq})
		return true
	}
	return false
}

// answer gives the oldest answer that is owed in a takeover.
func (w *world) answer(well bool) {
	give := w.owed[0]
	w.owed = w.owed[1:]
	give(well)
}

// proceedSuccessor does what an orderly successor does next.
func (w *world) proceedSuccessor() bool {
	h := w.next
	switch {
	case h == nil || !h.alive:
		return false
	case h.killed:
		w.endSuccessor(errors.New("signal: killed"))
	case h.stuck || w.deposed:
		return false
	case h.back, h.hungUp, h.signaled && !h.told:
		w.endSuccessor(nil)
	case h.leaving:
		w.say(WordBack)
	case (h.refused || h.signaled) && !h.leaving:
		w.say(WordLeave)
	case !h.prepared:
		w.say(WordPrepared)
	case h.told && !h.done:
		w.say(WordDone)
	default:
		return false
	}
	return true
}

// say makes the successor send a word.
func (w *world) say(word Word) {
	h := w.next
	if h.hungUp {
		return
	}
	switch word {
	case WordPrepared:
		h.prepared = true
	case WordDone:
		h.done = true
	case WordLeave, WordStop:
		h.leaving = true
	case WordBack:
		h.leaving, h.back = true, true
	case WordGo, WordNo: // the predecessor's
	}
	w.tell(SuccessorSaid{77, word})
}

func (w *world) endSuccessor(err error) {
	if !w.next.hungUp {
		w.next.hungUp = true
		w.tell(SuccessorHungUp{77})
	}
	w.next.alive = false
	w.tell(SuccessorEnded{77, err})
}

// disturbSuccessor makes it do one thing that is out of order.
func (w *world) disturbSuccessor() {
	h := w.next
	if h == nil || !h.alive || w.deposed {
		return
	}
	switch w.choices.next(6) {
	case 0:
		w.endSuccessor(errors.New("exit code 3"))
	case 1:
		h.stuck = !h.stuck
	case 2:
		if !h.hungUp {
			h.hungUp = true
			w.tell(SuccessorHungUp{77})
		}
	case 3:
		w.say(WordStop)
	case 4:
		w.say(WordLeave)
	case 5:
		if h.told || !h.done {
			w.say(WordPrepared)
		}
	}
}

// pass advances time until the machine has something to do.
func (w *world) pass() {
	if next := w.m.Next(); next.After(w.now) {
		w.now = next
	} else {
		w.now = w.now.Add(time.Millisecond)
	}
	w.tell(Tick{})
}

// settle advances the world until enough.
func (w *world) settle(enough func() bool) {
	w.tb.Helper()
	for steps := 0; !enough(); steps++ {
		if steps == 20_000 {
			w.dump()
		}
		require.Less(w.tb, steps, 20_000, "it does not come to an end")
		if !w.proceed() {
			w.pass()
		}
	}
}

// dump says how things are.
func (w *world) dump() {
	for _, one := range w.m.sorted() {
		w.tb.Logf("%v: %+v", one, *one)
	}
	for id, p := range w.alive {
		w.tb.Logf("process %d: %+v", id, *p)
	}
	for _, slot := range w.m.slots {
		w.tb.Logf("%+v", *slot)
	}
	for i := max(0, len(w.actions)-12); i < len(w.events); i++ {
		w.tb.Logf("%T %+v", w.events[i], w.events[i])
		if i < len(w.actions) {
			w.tb.Logf("\t%+v", w.actions[i])
		}
	}
	w.tb.Logf("plan %+v, orders %v, outside %v, at %v", w.m.plan, w.open, w.outside, w.now)
	w.tb.Logf("successor %+v, as it is known %+v, phase %v", w.next, w.m.handover.process, w.m.handover.phase)
}

func (w *world) give(o Order) {
	w.lastSeq++
	o.Seq = w.lastSeq
	w.open[o.Seq] = true
	w.tell(o)
}

// disturb does one thing at random.
func (w *world) disturb() {
	alive := w.some(func(*process) bool { return true })
	var one *process
	if len(alive) > 0 {
		one = alive[w.choices.next(len(alive))]
	}
	switch kind := w.choices.next(24); {
	case kind < 6:
		w.proceed()
	case kind < 8:
		w.now = w.now.Add(time.Duration(w.choices.next(200)) * 10 * time.Millisecond)
		w.tell(Tick{})
	case kind == 8:
		w.give(Order{Kind: Reload, Name: "reload", AtOnce: w.choices.next(2) == 0})
	case kind == 9:
		w.give(Order{Kind: Scale, Name: "scale", Count: w.choices.next(6)})
	case kind == 10:
		w.give(Order{Kind: ScaleBy, Name: "scale", Count: w.choices.next(3) - 1, Signal: "a signal"})
	case kind == 11:
		w.give(Order{Kind: Drain, Name: "drain", Node: w.choices.next(w.lastID + 2)})
	case kind == 12:
		w.give(Order{Kind: Takeover, Name: "takeover"})
	case kind == 13 && w.lastSeq > 0:
		w.tell(Cancel{1 + w.choices.next(w.lastSeq), errors.New("the caller is gone")})
	case kind == 14 && len(w.outside) > 0:
		seq := w.outside[0]
		w.outside = w.outside[1:]
		w.tell(Done{seq, errors.New("it cannot be")})
	case kind == 15 && len(w.starts) > 0:
		w.start(false)
	case kind == 16 && one != nil:
		w.exit(one, Exit{Reason: "exit code 1", LastWords: "no licence"})
	case kind == 17 && one != nil:
		w.exit(one, Exit{Reason: "exit code 0", Done: true, Jitter: 0.5})
	case kind == 18 && one != nil:
		one.stuck = !one.stuck
	case kind == 19 && one != nil:
		w.tell(Unlinked{ID(one.ID)})
		one.linked = false
	case kind == 20 && len(w.owed) > 0:
		w.answer(w.choices.next(2) == 0)
	case kind == 21:
		w.disturbSuccessor()
	case kind == 22: // another master starts one
		w.lastID++
		info := Info{ID: w.lastID, Slot: 1 + w.choices.next(4), Generation: 1 + w.choices.next(9), PID: 1}
		if w.m.Knows(info.ID) && w.m.lent != nil && !w.taken(info.Slot) {
			w.alive[info.ID] = &process{Info: info}
			w.tell(Met{info})
		}
	case kind == 23 && w.choices.next(8) == 0:
		all := []Event{Ending{}, Fill{}, Hold{"takeover"}, Release{}, Hurry{}}
		if w.settled && !w.lost {
			all = append(all, Stop{time.Duration(w.choices.next(10)) * time.Second}, Cut{})
		}
		w.tell(all[w.choices.next(len(all))])
	}
}

// taken reports whether a slot has no place: a master starts no worker there.
func (w *world) taken(number int) bool {
	slot := w.m.slotBy(number)
	return w.m.workerIn(slot, current) != nil || w.m.workerIn(slot, replacement) != nil
}

// rest advances the world until it is at rest: all orders are answered, each slot has one worker, which is ready, and there is no other worker.
func (w *world) rest() {
	w.tb.Helper()
	if w.m.stopping || w.m.ending || !w.m.filled {
		return
	}
	for _, p := range w.alive {
		p.stuck = false
	}
	w.settle(func() bool {
		if w.ended || w.m.stopping {
			return true
		}
		if len(w.open)+len(w.outside)+len(w.starts)+len(w.owed) > 0 {
			return false
		}
		serving := 0
		for _, slot := range w.m.slots {
			one := w.m.workerIn(slot, current)
			switch {
			case one != nil && one.phase == ready && !one.suspect:
				serving++
			case one != nil || !slot.closed:
				return false
			}
		}
		return len(w.alive) == serving
	})
}

// live drives a machine through the choices, and stops it.
func live(tb testing.TB, data []byte) *world {
	tb.Helper()
	c := &choices{data}
	w := newWorld(tb, Config{
		Workers: 1 + c.next(4), BootTimeout: 10 * time.Second, StopTimeout: 5 * time.Second, LivenessTimeout: time.Second,
		DisableRestart: c.next(8) == 7, MasterAccepts: c.next(2) == 0,
	}, c)
	w.tell(Fill{})
	for len(c.bytes) > 0 && !w.ended {
		w.disturb()
	}
	w.tell(Release{})
	w.rest()
	for id, p := range w.alive {
		p.stuck = p.stuck || id%3 == 0
	}
	w.tell(Ending{})
	w.settle(func() bool { return w.settled || w.ended })
	if w.lost {
		w.settle(func() bool { return len(w.open) == 0 })
		w.tell(Quit{})
	} else {
		w.tell(Stop{time.Second})
		w.settle(func() bool { return w.ended })
	}
	assert.Empty(tb, w.open, "orders without an answer")
	if !w.lost && !w.deposed {
		assert.Empty(tb, w.alive, "who lives when all has ended")
		assert.False(tb, w.next != nil && w.next.alive, "the successor lives when all has ended")
	}
	return w
}

// replay tells another machine the same, and compares what it wants.
func (w *world) replay() {
	w.tb.Helper()
	again := New(w.m.cfg)
	for i, e := range w.events {
		require.Equal(w.tb, w.actions[i], again.Handle(e, w.times[i]), "event %d: %T", i, e)
	}
}

func FuzzMachine(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 300 {
			return
		}
		live(t, data).replay()
	})
}

// TestMachineLives is the fuzz target with random data.
func TestMachineLives(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		data := make([]byte, 50+random.IntN(300))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		live(t, data).replay()
		if t.Failed() {
			return
		}
	}
}

// orderly is a world in which nothing bad happens, with its workers ready.
func orderly(t *testing.T, cfg Config) *world {
	t.Helper()
	cfg.BootTimeout, cfg.StopTimeout, cfg.LivenessTimeout = 10*time.Second, 5*time.Second, time.Second
	w := newWorld(t, cfg, new(choices))
	w.tell(Fill{})
	w.settle(func() bool { return len(w.some(func(p *process) bool { return p.ready })) == cfg.Workers })
	w.least = cfg.Workers
	return w
}

// TestNeverFewerReady: while nothing dies, an order leaves as many ready as there were before, or as there are to be.
func TestNeverFewerReady(t *testing.T) {
	for name, c := range map[string]struct {
		order Order
		least int
		after int
	}{
		"reload":     {Order{Kind: Reload}, 3, 3},
		"drain":      {Order{Kind: Drain, Node: 2}, 3, 3},
		"scale up":   {Order{Kind: Scale, Count: 5}, 3, 5},
		"scale down": {Order{Kind: Scale, Count: 2}, 2, 2},
		"one more":   {Order{Kind: ScaleBy, Count: 1}, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := orderly(t, Config{Workers: 3})
			w.give(c.order)
			w.settle(func() bool { return len(w.open) == 0 })
			assert.Equal(t, c.least, w.least)
			assert.Len(t, w.some(func(p *process) bool { return p.ready && !p.asked }), c.after)
			assert.Equal(t, c.after, w.m.Nodes())
		})
	}
}

// TestReloadOfAMasterThatAccepts: one more worker takes its place.
func TestReloadOfAMasterThatAccepts(t *testing.T) {
	w := orderly(t, Config{Workers: 2, MasterAccepts: true})
	assert.Equal(t, 3, w.m.Nodes())
	w.give(Order{Kind: Reload, Name: "reload"})
	assert.Equal(t, "reload", w.m.Doing())
	w.settle(func() bool { return len(w.open) == 0 })
	assert.Equal(t, 3, w.m.Nodes())
	assert.Len(t, w.some(func(p *process) bool { return p.ready }), 3)
	assert.Empty(t, w.m.Doing())
}

// answers returns the errors with which orders have ended.
func (w *world) answers() map[int]error {
	all := make(map[int]error)
	for _, out := range w.actions {
		for _, a := range out {
			if a, ok := a.(Answer); ok {
				all[a.Seq] = a.Err
			}
		}
	}
	return all
}

func TestOrdersAreCarriedOutOneAfterTheOther(t *testing.T) {
	w := orderly(t, Config{Workers: 2})
	w.give(Order{Kind: Reload, Name: "reload"})
	w.give(Order{Kind: Scale, Count: 3, Name: "scale"})
	w.give(Order{Kind: Reload, AtOnce: true, Name: "reload"})
	require.ErrorIs(t, w.answers()[3], control.ErrBusy)
	w.tell(Cancel{2, errors.New("the caller is gone")})
	require.ErrorContains(t, w.answers()[2], "wait for another operation to end: the caller is gone")
	w.give(Order{Kind: ScaleBy, Count: 1, Signal: "a signal", Name: "scale"})
	w.give(Order{Kind: ScaleBy, Count: 1, Signal: "a signal", Name: "scale"})
	w.give(Order{Kind: Drain, Node: 99, Name: "drain"})
	w.settle(func() bool { return len(w.open) == 0 })
	assert.Equal(t, 4, w.m.Nodes(), "both in one")
	require.ErrorIs(t, w.answers()[6], control.ErrNoNode)
	require.NoError(t, w.answers()[1])
	require.NoError(t, w.answers()[4])
	w.give(Order{Kind: Reload, Name: "reload"})
	w.tell(Stop{time.Second})
	require.ErrorIs(t, w.answers()[7], control.ErrStopping)
	w.give(Order{Kind: Reload, Name: "reload"})
	require.ErrorIs(t, w.answers()[8], control.ErrStopping)
	w.settle(func() bool { return w.ended })
	w.give(Order{Kind: Reload, Name: "reload"})
	require.ErrorIs(t, w.answers()[9], control.ErrStopping)
}

// TestReplacementThatFails: the one before serves on.
func TestReplacementThatFails(t *testing.T) {
	w := orderly(t, Config{Workers: 1})
	w.give(Order{Kind: Reload, Name: "reload"})
	w.start(true)
	w.exit(w.alive[2], Exit{Reason: "exit code 4", LastWords: "no licence"})
	var died *control.WorkerError
	require.ErrorAs(t, w.answers()[1], &died)
	assert.Equal(t, "no licence", died.LastWords)
	assert.Equal(t, 1, w.least)
	w.settle(func() bool { return w.now.Sub(time.Unix(1e9, 0)) > time.Minute })
	assert.Equal(t, 2, w.lastID, "no other worker is started")
}

// TestReplacementThatIsNotWaitedFor is retired; if its predecessor has died meanwhile, the slot is filled again.
func TestReplacementThatIsNotWaitedFor(t *testing.T) {
	w := orderly(t, Config{Workers: 1})
	w.give(Order{Kind: Reload, Name: "reload"})
	w.start(true)
	w.exit(w.alive[1], Exit{Reason: "signal: killed"})
	require.Empty(t, w.starts, "the replacement is on its way")
	w.tell(Cancel{1, errors.New("the caller is gone")})
	require.ErrorContains(t, w.answers()[1], "worker 2 (slot 1, pid 1002) was not ready: the caller is gone")
	require.Len(t, w.starts, 1)
	w.settle(func() bool { p := w.alive[3]; return p != nil && p.ready })
	assert.Nil(t, w.alive[2])
}

// TestOrdersBySignal: while one waits, further ones are a part of it, and the log says so once.
func TestOrdersBySignal(t *testing.T) {
	w := orderly(t, Config{Workers: 1})
	w.tell(Hold{"takeover"})
	w.give(Order{Kind: Reload, Name: "reload", Signal: "hangup"})
	for range 3 * MaxNodes {
		w.give(Order{Kind: ScaleBy, Name: "scale", Count: -1, Signal: "ttou"})
		w.give(Order{Kind: Reload, Name: "reload", Signal: "hangup"})
	}
	require.Len(t, w.m.waiting, 2)
	assert.Equal(t, -MaxNodes, w.m.waiting[1].Count, "there is no more to leave")
	notes := 0
	for _, out := range w.actions {
		for _, a := range out {
			if n, ok := a.(Note); ok && strings.HasPrefix(n.Text, "order by signal") {
				notes++
			}
		}
	}
	assert.Equal(t, 2*2, notes)
	assert.Equal(t, "takeover", w.m.Doing())
	w.tell(Release{})
	w.settle(func() bool { return len(w.open) == 0 })
	assert.ErrorContains(t, w.answers()[2], "scale to -1023: it must be 1 to 1024 nodes")
}

// TestNodeThatDoesNotCome: a slot that was added for it is given up.
func TestNodeThatDoesNotCome(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"it dies":              func(w *world) { w.exit(w.alive[2], Exit{Reason: "exit code 1"}) },
		"it is not waited for": func(w *world) { w.tell(Cancel{1, errors.New("the caller is gone")}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := orderly(t, Config{Workers: 1})
			w.give(Order{Kind: ScaleBy, Count: 1, Name: "scale"})
			w.tell(Done{Seq: 1}) // there is room
			w.start(true)
			end(w)
			require.Error(t, w.answers()[1])
			assert.Equal(t, 1, w.m.Slots())
			w.rest()
			assert.Equal(t, 2, w.lastID, "no other worker is started")
		})
	}
}

// TestLateWorkersAreNamedInOneLine: as all errors of a node.
func TestLateWorkersAreNamedInOneLine(t *testing.T) {
	w := orderly(t, Config{Workers: 2})
	for _, p := range w.alive {
		p.stuck = true
	}
	w.tell(Stop{time.Second})
	w.settle(func() bool { return w.ended })
	last := w.actions[len(w.actions)-1]
	end, ok := last[len(last)-1].(End)
	require.True(t, ok)
	require.ErrorContains(t, end.Err, "worker 1 (slot 1, pid 1001) did not leave in time and was killed")
	require.ErrorContains(t, end.Err, "worker 2 (slot 2, pid 1002) did not leave in time and was killed")
	assert.NotContains(t, end.Err.Error(), "\n")
}
