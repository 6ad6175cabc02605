package reuseport

import (
	"math"
	"math/bits"
	"slices"

	"golang.org/x/net/bpf"
)

const (
	// networkHeader is SKF_NET_OFF of linux/filter.h: loads from there on are relative to the IP header. When the
	// program runs, the packet itself begins after the TCP header (run_bpf_filter). A load beyond its end would end the
	// program with 0, that is with index 0, so nothing is read but what each SYN has.
	networkHeader = 1<<32 - 0x100000

	// hashDecides is an index that no group has.
	hashDecides = math.MaxUint32

	ipv6NextHeader = 6
	ipv6HeaderLen  = 40
	protocolTCP    = 6

	// maxSkip is how far a conditional jump can go.
	maxSkip = math.MaxUint8
)

// program returns instructions for classic BPF that end with the index of the member that gets the connection.
func (s Steering) program() []bpf.Instruction {
	choice := choose(partition(s.Weights))
	if s.Mark == nil {
		return choice
	}
	return append(s.Mark.program(), choice...)
}

// program returns a program that ends for a marked connection, and continues with the instructions after it for any other.
//
// The header of IPv4 is as long as its lower nibble says, in units of 4 bytes. That of IPv6 has a fixed length, and is
// followed by the TCP header if that is the next one. A dual-stack listener gets both.
func (m Mark) program() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: networkHeader, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 4, SkipTrue: 8},
		bpf.LoadMemShift{Off: networkHeader},
		bpf.LoadIndirect{Off: networkHeader, Size: 2},
		bpf.Jump{Skip: 3},
		bpf.LoadAbsolute{Off: networkHeader + ipv6NextHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolTCP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: networkHeader + ipv6HeaderLen, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(m.Port), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(m.Index)},
	}
}

// part is a member with a weight, and the first of the 2^32 random numbers that are its own.
type part struct {
	index, from uint32
}

// partition divides the random numbers between the members with a weight, in the order of their index. The numbers of a
// member are its exact part of them, rounded by less than 1.
func partition(weights []uint32) []part {
	var sum uint64
	for _, w := range weights {
		sum += uint64(w)
	}
	if sum == 0 {
		return nil
	}
	var parts []part
	var before uint64
	for i, w := range weights {
		from, end := portion(before, sum), portion(before+uint64(w), sum)
		if from < end {
			parts = append(parts, part{index: uint32(i), from: uint32(from)})
		}
		before += uint64(w)
	}
	return parts
}

// portion returns 2^32 * part / sum, rounded down. A sum has up to 42 bits.
func portion(part, sum uint64) uint64 {
	high, low := bits.Mul64(part, 1<<32)
	quotient, _ := bits.Div64(high, low, sum)
	return quotient
}

// choose returns a program that draws a random number and ends with the member that it belongs to.
func choose(parts []part) []bpf.Instruction {
	if len(parts) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: hashDecides}}
	}
	return append([]bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtRand}}, search(parts)...)
}

// search looks for the number in the accumulator: a binary search, 2 instructions for each member and log2 of their
// number for each connection. So 1,024 members need half of the 4,096 instructions that a program can have (BPF_MAXINSNS).
func search(parts []part) []bpf.Instruction {
	if len(parts) == 1 {
		return []bpf.Instruction{bpf.RetConstant{Val: parts[0].index}}
	}
	half := len(parts) / 2
	below, above := search(parts[:half]), search(parts[half:])
	found := bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: parts[half].from}
	if len(below) <= maxSkip {
		found.SkipTrue = uint8(len(below))
		return slices.Concat([]bpf.Instruction{found}, below, above)
	}
	found.SkipFalse = 1
	far := bpf.Jump{Skip: uint32(len(below))}
	return slices.Concat([]bpf.Instruction{found, far}, below, above)
}
