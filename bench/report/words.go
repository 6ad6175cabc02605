package report

import (
	"fmt"
	"time"
)

// question is what the whole page answers.
func (d *Document) question() string {
	return "When several processes of one machine serve the same TCP port, something has to decide which of them gets each new connection. " +
		fmt.Sprintf("This page compares %s to do that under %s of load, and asks of each: is it faster, cheaper or fairer than one ordinary process?",
			counts(len(d.present()), "way"), counts(len(d.Patterns), "pattern"))
}

func counts(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (d *Document) facts() string {
	text := counts(d.rounds(), "round")
	if !d.Begun.IsZero() {
		text = d.Begun.UTC().Format("2 January 2006, 15:04 MST") + " · " + text
	}
	if d.Elapsed > 0 {
		text += fmt.Sprintf(" · took %v", d.Elapsed.Round(time.Second))
	}
	return text
}

// reading explains how the figures are to be read.
func (d *Document) reading() []word {
	n := d.rounds()
	return []word{
		{"Rounds", fmt.Sprintf("Everything was measured %s, and in each round all ways come one after the other. A value is the median of the rounds.", times(n))},
		{"Ratio", "A machine is never equally busy for long. So each value is divided by that of the baseline in the same round, and the ratio that " +
			"is shown is the median of these: ×1 means no difference, ×2 twice as much. Figures that may be zero, such as failures, are " +
			"compared by their difference."},
		{"Spread", fmt.Sprintf("The numbers in brackets, and the lines in the charts, go from the lowest to the highest round, or less far when there "+
			"are so many rounds that some can be left out at both ends. With %s they hold the true median with a confidence of %s. If they hold "+
			"“no difference”, the figure is marked ~ and has a hollow dot: it is not called better or worse, however large it looks.",
			counts(n, "round"), percent(Coverage(n)))},
		{"Tables", "Under a value stands its ratio to the baseline with the spread of that, or, where there is no ratio, the spread of the value itself."},
		{"Chance", chance(n)},
		{"Servers", "A way on another server than the baseline (nginx, Node, ...) differs by far more than by how it shares the port. It is here to " +
			"show what is usual elsewhere; only ways on the same server are compared to find the best way."},
	}
}

func chance(rounds int) string {
	if rounds < MinRounds {
		return fmt.Sprintf("With fewer than %d rounds nothing can be told from no difference, so everything is marked ~.", MinRounds)
	}
	return fmt.Sprintf("Where there is no difference, about one comparison in %.0f is called one by accident. There are hundreds of them on this "+
		"page, so trust what shows in several figures or patterns.", 1/(1-Coverage(rounds)))
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

type fact struct {
	Name, Value string
	Code        bool
}

// machineFacts leaves out what is not known.
func (d *Document) machineFacts() []fact {
	m := d.Machine
	var facts []fact
	add := func(known bool, name, format string, args ...any) {
		if known {
			facts = append(facts, fact{Name: name, Value: fmt.Sprintf(format, args...)})
		}
	}
	add(m.CPU != "", "CPU", "%s", m.CPU)
	add(m.CPUs > 0, "CPUs", "%d", m.CPUs)
	add(m.Memory > 0, "Memory", "%.1f GiB", float64(m.Memory)/(1<<30))
	add(m.OS != "", "System", "%s", m.OS)
	add(m.Kernel != "", "Kernel", "%s", m.Kernel)
	add(m.Go != "", "Go", "%s", m.Go)
	add(m.GOMAXPROCS > 0, "GOMAXPROCS", "%d", m.GOMAXPROCS)
	add(m.Revision != "", "Revision of this project", "%s", m.Revision)
	add(true, "Load average before", "%.2f", m.Load)
	add(true, "Seed", "%d", d.Seed)
	if d.Command != "" {
		facts = append(facts, fact{"Command", d.Command, true})
	}
	return facts
}

type word struct{ Word, Meaning string }

// glossary is for a reader who has not seen the project.
func glossary() []word {
	return []word{
		{"worker", "one of the processes that serve the port."},
		{"accept queue", "connections that the kernel has established and no process has accepted yet. Who connects waits there."},
		{"SO_REUSEPORT", "a socket option that lets each worker listen on the same port with a queue of its own. The kernel picks the queue by a " +
			"hash of the addresses and ports of both ends: evenly over many connections, by luck over few, and without knowing who is busy."},
		{"inherited listener", "all workers accept from one queue, whose descriptor they got from their parent. Who is idle takes the next connection."},
		{"master-accept", "one process accepts all connections and passes each one to a worker as a descriptor: in turn (round robin), or to the one " +
			"that has the fewest (least connections)."},
		{"proxy", "one process accepts all connections and copies their bytes to and from workers behind it."},
		{"prefork", "the name of some servers for several processes that use SO_REUSEPORT, or an inherited listener."},
		{"keep-alive", "a connection stays open for more than one request."},
		{"closed loop", "each client sends its next request when it has its answer. A slow server gets fewer requests, which hides how long others would " +
			"have waited."},
		{"open loop", "requests are sent at times that are fixed beforehand, as by many independent users. Latency counts from the time at which a request " +
			"was due, so that waiting is not hidden."},
		{"p50, p90, p99, p99.9", "percentiles: p99 is the latency that 99 of 100 requests do not exceed, p99.9 is that of 999 of 1,000, and p50 is the median."},
		{"heavy tail", "most requests are short and a few take very long."},
		{"max/mean", "what the busiest worker got, relative to the mean of all workers. 1 is even; with 4 workers 4 means that one got everything."},
		{"Jain's index", "(sum of x)² / (n · sum of x²) for what n workers got: 1 if all got the same, 1/n if one got everything."},
		{"deviation", "standard deviation over the workers, relative to their mean. 0 is even."},
		{"CPU time a request", "user and system time of all processes of the server, with master and proxy, by the number of requests. The load " +
			"generator does not count."},
		{"RSS, PSS", "memory of all processes of the server. RSS counts a page that they share once for each of them, PSS divides it among them."},
	}
}
