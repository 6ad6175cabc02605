package reuseport

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// version is that of an upstream kernel. A candidate (-rc) is before the version that it is one of.
type version struct {
	major, minor, patch int
	candidate           bool
}

// fixes are the first versions with a fix, one for each stable series, sorted; every series after the last one has it.
type fixes []version

var (
	// CVE-2026-52910: the program of a group is freed while softirqs still run it. sk_reuseport_prog_free_rcu is the fix.
	fixedReattach = fixes{
		{5, 10, 259, false},
		{5, 15, 210, false},
		{6, 1, 176, false},
		{6, 6, 143, false},
		{6, 12, 94, false},
		{6, 18, 36, false},
		{7, 0, 13, false},
		{7, 1, 0, false},
	}
	// CVE-2026-46015: a migrated connection wakes no process.
	fixedWakeup = fixes{
		{5, 15, 209, false},
		{6, 1, 175, false},
		{6, 6, 140, false},
		{6, 12, 86, false},
		{6, 18, 27, false},
		{7, 0, 4, false},
		{7, 1, 0, false},
	}

	incomingCPUSince = version{6, 2, 0, false}
	migrateSince     = version{5, 14, 0, false}
)

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }

func (v version) compare(o version) int {
	candidate := func(c bool) int {
		if c {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(v.major, o.major), cmp.Compare(v.minor, o.minor), cmp.Compare(v.patch, o.patch),
		cmp.Compare(candidate(v.candidate), candidate(o.candidate)))
}

func (v version) sameSeries(o version) bool { return v.major == o.major && v.minor == o.minor }

// in tells whether a kernel of this version has the fix.
func (f fixes) in(v version) bool {
	for _, fixed := range f {
		if fixed.sameSeries(v) {
			return v.compare(fixed) >= 0
		}
	}
	return v.compare(f[len(f)-1]) > 0
}

// next returns the first version with the fix that a kernel can be updated to, if possible of its own series.
func (f fixes) next(v version) version {
	for _, fixed := range f {
		if fixed.compare(v) > 0 {
			return fixed
		}
	}
	return f[len(f)-1]
}

var (
	releasePattern = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(.*)$`)
	// In `uname -v` of Debian: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-06-20)".
	debianPattern = regexp.MustCompile(`\bDebian (\d{1,4}\.\d{1,4}\.\d{1,4})(?:-|\+|~|$)`)
	// /proc/version_signature of Ubuntu: "Ubuntu 6.8.0-45.45-generic 6.8.12".
	ubuntuPattern = regexp.MustCompile(`^Ubuntu \S+ (\d{1,4}\.\d{1,4}\.\d{1,4})\s*$`)
)

// parseVersion returns the upstream version that a kernel is at least, from `uname -r`, `uname -v` and
// /proc/version_signature, which only Ubuntu has.
//
// Debian and Ubuntu keep the third number of a release at 0 and tell elsewhere which stable version they have merged.
// Others do not tell (RHEL, SLES): their kernels count as the .0 of the series, without the fixes that they may have
// taken over one by one.
func parseVersion(release, build, signature string) (version, bool) {
	v, ok := parseRelease(release)
	if !ok {
		return version{}, false
	}
	for _, match := range [][]string{debianPattern.FindStringSubmatch(build), ubuntuPattern.FindStringSubmatch(signature)} {
		if match == nil {
			continue
		}
		if merged, ok := parseRelease(match[1]); ok && merged.sameSeries(v) && merged.compare(v) > 0 {
			v = merged
		}
	}
	return v, true
}

func parseRelease(release string) (version, bool) {
	match := releasePattern.FindStringSubmatch(release)
	if match == nil {
		return version{}, false
	}
	var v version
	for i, number := range []*int{&v.major, &v.minor, &v.patch} {
		*number, _ = strconv.Atoi(match[i+1]) // digits; or none, which is 0
	}
	v.candidate = strings.HasPrefix(match[4], "-rc")
	return v, true
}

// symbolAnswer is what /proc/kallsyms says about the fix of CVE-2026-52910.
type symbolAnswer int

const (
	symbolsSilent  symbolAnswer = iota // the table is missing or incomplete
	symbolsFixed                       // the function of the fix exists
	symbolsUnfixed                     // it is not there, but its neighbour is
)

// searchSymbols reads /proc/kallsyms, lines such as "ffffffff81e8e290 t name", where the names are readable even if the
// addresses are not (kptr_restrict). A compiler may add a suffix to a name, such as ".llvm.1234".
func searchSymbols(r io.Reader) symbolAnswer {
	const neighbour, fix = "sk_reuseport_prog_free", "sk_reuseport_prog_free_rcu"
	answer := symbolsSilent
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(neighbour)) {
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 { // a module's have 4
			continue
		}
		switch name, _, _ := strings.Cut(fields[2], "."); name {
		case fix:
			return symbolsFixed
		case neighbour:
			answer = symbolsUnfixed
		}
	}
	if lines.Err() != nil {
		return symbolsSilent
	}
	return answer
}

// parseCPUs returns how many CPUs are in a list such as "0-3,8", as in /sys/devices/system/cpu/online.
func parseCPUs(list string) (int, error) {
	count := 0
	for span := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, isRange := strings.Cut(span, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return 0, err
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(to, 10, 16); err != nil {
				return 0, err
			}
		}
		if last < first {
			return 0, fmt.Errorf("CPUs from %d to %d", first, last)
		}
		count += int(last - first + 1)
	}
	return count, nil
}
