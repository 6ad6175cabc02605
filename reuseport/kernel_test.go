package reuseport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, release, build, signature string
		want                            version
	}{
		{"upstream", "6.18.36", "#1 SMP PREEMPT_DYNAMIC", "", version{6, 18, 36, false}},
		{"upstream of two numbers", "7.1", "", "", version{7, 1, 0, false}},
		{"a candidate", "7.1.0-rc3", "", "", version{7, 1, 0, true}},
		{"a candidate with more", "7.1.0-rc3-next-20260601+", "", "", version{7, 1, 0, true}},
		{"Debian", "6.1.0-18-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-06-20)", "", version{6, 1, 176, false}},
		{"Debian's backports", "6.12.9+bpo-amd64", "#1 SMP Debian 6.12.9-1~bpo12+1 (2025-01-19)", "", version{6, 12, 9, false}},
		{"Debian of another series", "6.1.0-18-amd64", "#1 SMP Debian 6.12.94-1", "", version{6, 1, 0, false}},
		{"Debian without a version", "6.1.0-18-amd64", "#1 SMP Debian", "", version{6, 1, 0, false}},
		{"Ubuntu", "6.8.0-45-generic", "#45-Ubuntu SMP PREEMPT_DYNAMIC", "Ubuntu 6.8.0-45.45-generic 6.8.12\n", version{6, 8, 12, false}},
		{"Ubuntu without a signature", "6.8.0-45-generic", "#45-Ubuntu SMP", "", version{6, 8, 0, false}},
		{"RHEL", "5.14.0-427.13.1.el9_4.x86_64", "#1 SMP PREEMPT_DYNAMIC Wed Apr 10", "", version{5, 14, 0, false}},
		{"SLES", "6.4.0-150600.23.7-default", "#1 SMP PREEMPT_DYNAMIC", "", version{6, 4, 0, false}},
		{"Fedora", "6.12.9-200.fc41.x86_64", "#1 SMP", "", version{6, 12, 9, false}},
		{"Amazon", "6.1.112-124.190.amzn2023.x86_64", "#1 SMP", "", version{6, 1, 112, false}},
		{"Arch", "6.18.3-arch1-1", "#1 SMP", "", version{6, 18, 3, false}},
		{"Alpine", "6.6.60-0-virt", "#1-Alpine SMP", "", version{6, 6, 60, false}},
		{"WSL", "5.15.153.1-microsoft-standard-WSL2", "#1 SMP", "", version{5, 15, 153, false}},
		{"GKE", "6.6.56+", "#1 SMP", "", version{6, 6, 56, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := parseVersion(tt.release, tt.build, tt.signature)
			require.True(t, ok)
			assert.Equal(t, tt.want, got)
		})
	}
	for _, release := range []string{"", "6", "linux", "6.", "v6.1.2", "99999.1.2"} {
		_, ok := parseVersion(release, "Debian 6.1.176-1", "")
		assert.False(t, ok, release)
	}
}

func TestFixes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		release          string
		reattach, wakeup bool
	}{
		{"4.19.325", false, false},
		{"5.10.258", false, false},
		{"5.10.259", true, false}, // migration came with 5.14
		{"5.15.209", false, true},
		{"5.15.210", true, true},
		{"5.16.20", false, false},
		{"6.1.175", false, true},
		{"6.1.176", true, true},
		{"6.1.0-18-amd64", false, false},
		{"6.6.143", true, true},
		{"6.8.12", false, false},
		{"6.12.93", false, true},
		{"6.12.94", true, true},
		{"6.12.85", false, false},
		{"6.18.26", false, false},
		{"6.18.44-custom", true, true},
		{"6.19.99", false, false},
		{"7.0.12", false, true},
		{"7.0.13", true, true},
		{"7.1.0-rc7", false, false},
		{"7.1.0", true, true},
		{"7.2.0-rc1", true, true},
		{"10.0.0", true, true},
	}
	for _, tt := range tests {
		v, ok := parseRelease(tt.release)
		require.True(t, ok)
		assert.Equal(t, tt.reattach, fixedReattach.in(v), "%s re-attaches", tt.release)
		assert.Equal(t, tt.wakeup, fixedWakeup.in(v), "%s wakes", tt.release)
	}
	for release, next := range map[string]string{
		"5.15.1": "5.15.210", "5.16.1": "6.1.176", "6.1.0-18-amd64": "6.1.176", "6.8.12": "6.12.94", "7.1.0-rc1": "7.1.0", "": "5.10.259",
	} {
		v, _ := parseRelease(release)
		assert.Equal(t, next, fixedReattach.next(v).String(), release)
	}
}

func TestSearchSymbols(t *testing.T) {
	t.Parallel()
	const before = "0000000000000000 T _stext\n0000000000000000 t __pfx_sk_reuseport_prog_free_rcu\n"
	tests := []struct {
		name, table string
		want        symbolAnswer
	}{
		{"nothing", "", symbolsSilent},
		{"cut off", before, symbolsSilent},
		{"fixed", before + "0000000000000000 t sk_reuseport_prog_free_rcu\n", symbolsFixed},
		{"fixed, and its neighbour", before + "ffffffff81e9da20 T sk_reuseport_prog_free\nffffffff81e8e290 t sk_reuseport_prog_free_rcu\n", symbolsFixed},
		{"fixed by a compiler that renames", "ffffffff81e8e290 t sk_reuseport_prog_free_rcu.llvm.42\n", symbolsFixed},
		{"unfixed", "ffffffff81e9da20 T sk_reuseport_prog_free\n", symbolsUnfixed},
		{"of a module", "ffffffffc0000000 t sk_reuseport_prog_free_rcu\t[lookalike]\n", symbolsSilent},
		{"a longer name", "ffffffff81e8e290 t sk_reuseport_prog_free_rcu2\n", symbolsSilent},
		{"no table", strings.Repeat("sk_reuseport_prog_free", 1<<13), symbolsSilent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, searchSymbols(strings.NewReader(tt.table)))
		})
	}
}

func TestParseCPUs(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]int{"0\n": 1, "0-1\n": 2, "0-3,8\n": 5, "0,2,4-7\n": 6} {
		got, err := parseCPUs(list)
		require.NoError(t, err)
		assert.Equal(t, want, got, list)
	}
	for _, list := range []string{"", "\n", "a", "0-", "3-1", "0,,1", "-1", "0-99999999"} {
		_, err := parseCPUs(list)
		assert.Error(t, err, list)
	}
}

func TestOthers(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []uint32{5, 0, 0}, others([]uint32{5, 9, 0}, 1))
	assert.Equal(t, []uint32{1, 0, 1}, others([]uint32{0, 9, 0}, 1))
	assert.Equal(t, []uint32{0}, others([]uint32{7}, 0))
	assert.Equal(t, []uint32{1, 1}, others([]uint32{0, 0}, 2))
	assert.Empty(t, others(nil, 0))
}
