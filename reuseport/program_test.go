package reuseport

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
)

// maxInstructions is BPF_MAXINSNS of linux/bpf_common.h.
const maxInstructions = 4096

// interpret runs a program, as it is sent to the kernel, on an IP packet and a random number. Like the kernel, it ends
// with 0 at a load beyond the packet.
func interpret(t *testing.T, program []bpf.Instruction, packet []byte, random uint32) uint32 {
	t.Helper()
	raw, err := bpf.Assemble(program)
	require.NoError(t, err)
	require.LessOrEqual(t, len(raw), maxInstructions)
	instructions, known := bpf.Disassemble(raw)
	require.True(t, known)
	var a, x uint32
	load := func(offset uint32, size int) (value uint32, ok bool) {
		offset -= networkHeader // wraps around to one beyond the packet if it is before the header
		if uint64(offset)+uint64(size) > uint64(len(packet)) {
			return 0, false
		}
		if size == 1 {
			return uint32(packet[offset]), true
		}
		return uint32(binary.BigEndian.Uint16(packet[offset:])), true
	}
	for pc := 0; pc < len(instructions); pc++ {
		ok := true
		switch ins := instructions[pc].(type) {
		case bpf.LoadAbsolute:
			a, ok = load(ins.Off, ins.Size)
		case bpf.LoadIndirect:
			a, ok = load(ins.Off+x, ins.Size)
		case bpf.LoadMemShift:
			x, ok = load(ins.Off, 1)
			x = 4 * (x & 0xf)
		case bpf.LoadExtension:
			require.Equal(t, bpf.ExtRand, ins.Num)
			a = random
		case bpf.ALUOpConstant:
			require.Equal(t, bpf.ALUOpShiftRight, ins.Op)
			a >>= ins.Val
		case bpf.Jump:
			pc += int(ins.Skip)
		case bpf.JumpIf:
			skip := ins.SkipFalse
			if holds(t, ins.Cond, a, ins.Val) {
				skip = ins.SkipTrue
			}
			pc += int(skip)
		case bpf.RetConstant:
			return ins.Val
		default:
			require.Failf(t, "unknown instruction", "%v", ins)
		}
		if !ok {
			return 0
		}
	}
	require.Fail(t, "the program has no end")
	return 0
}

func holds(t *testing.T, test bpf.JumpTest, a, value uint32) bool {
	t.Helper()
	switch test {
	case bpf.JumpEqual:
		return a == value
	case bpf.JumpNotEqual:
		return a != value
	case bpf.JumpGreaterOrEqual:
		return a >= value
	case bpf.JumpLessThan:
		return a < value
	default:
		require.Failf(t, "unknown condition", "%v", test)
		return false
	}
}

// bounds returns the first random number of each member and 2^32, with numbers of any size.
func bounds(weights []uint32) []uint64 {
	sum, before := new(big.Int), new(big.Int)
	for _, w := range weights {
		sum.Add(sum, big.NewInt(int64(w)))
	}
	var from []uint64
	for _, w := range append(slices.Clone(weights), 0) {
		product := new(big.Int).Lsh(before, 32)
		from = append(from, product.Div(product, sum).Uint64())
		before.Add(before, big.NewInt(int64(w)))
	}
	return from
}

func randomWeights(r *rand.Rand, n int) []uint32 {
	weights := make([]uint32, n)
	for i := range weights {
		switch r.IntN(4) {
		case 0: // none
		case 1:
			weights[i] = 1
		case 2:
			weights[i] = r.Uint32N(1000)
		case 3:
			weights[i] = r.Uint32()
		}
	}
	weights[r.IntN(n)] = 1 + r.Uint32N(1000)
	return weights
}

// Each member ends exactly where its part of the random numbers ends.
func TestProgramBounds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	full := make([]uint32, MaxWeights)
	for i := range full {
		full[i] = math.MaxUint32
	}
	all := [][]uint32{{1}, {0, 1}, {1, 0}, {1, 3}, {0, 0, 5, 0}, {math.MaxUint32, 1}, {1, math.MaxUint32}, full}
	for _, n := range []int{2, 3, 5, 64, 255, 256, 257, 511, 512, 513, MaxWeights} {
		all = append(all, randomWeights(r, n))
	}
	for _, weights := range all {
		program := Steering{Weights: weights}.program()
		from := bounds(weights)
		assert.EqualValues(t, 1<<32, from[len(weights)], "all numbers belong to somebody")
		for i := range weights {
			if from[i] == from[i+1] {
				continue
			}
			for _, random := range []uint64{from[i], (from[i] + from[i+1]) / 2, from[i+1] - 1} {
				require.EqualValues(t, i, interpret(t, program, nil, uint32(random)), "%d of %d", random, len(weights))
			}
		}
	}
}

func TestProgramIsFair(t *testing.T) {
	t.Parallel()
	for n := 1; n <= MaxWeights; n++ {
		parts := partition(slices.Repeat([]uint32{7}, n))
		require.Len(t, parts, n)
		for i, p := range parts {
			end := uint64(1 << 32)
			if i+1 < n {
				end = uint64(parts[i+1].from)
			}
			size := end - uint64(p.from)
			exact := uint64(1<<32) / uint64(n)
			if int(p.index) != i || size != exact && size != exact+1 { // half a million times: require would take seconds
				require.Fail(t, "not fair", "%d of %d is at index %d and gets %d", i, n, p.index, size)
			}
		}
	}
}

func TestProgramNeverReturnsWhatHasNoWeight(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		weights := randomWeights(r, 1+r.IntN(MaxWeights))
		program := Steering{Weights: weights, Mark: &Mark{Port: 1, Index: 1 << 15}}.program()
		for _, random := range []uint32{0, 1, r.Uint32(), r.Uint32(), r.Uint32(), math.MaxUint32} {
			index := interpret(t, program, ipv4(2, nil), random)
			require.Less(t, index, uint32(len(weights)))
			require.NotZero(t, weights[index])
		}
	}
}

func TestProgramWithoutWeights(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]uint32{nil, {}, {0}, {0, 0, 0}} {
		program := Steering{Weights: weights}.program()
		assert.EqualValues(t, math.MaxUint32, interpret(t, program, nil, 0))
		program = Steering{Weights: weights, Mark: &Mark{Port: 4711, Index: 3}}.program()
		assert.EqualValues(t, math.MaxUint32, interpret(t, program, ipv4(4712, nil), 0))
		assert.EqualValues(t, 3, interpret(t, program, ipv4(4711, nil), 0))
	}
}

// ipv4 returns a packet with options of IPv4.
func ipv4(port uint16, options []byte) []byte {
	header := append(make([]byte, 20), options...)
	header[0] = 4<<4 | byte(len(header)/4)
	return append(header, tcp(port)...)
}

func ipv6(port uint16, next byte, extension []byte) []byte {
	header := append(make([]byte, 40), extension...)
	header[0] = 6 << 4
	header[6] = next
	return append(header, tcp(port)...)
}

func tcp(port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, port), make([]byte, 18)...)
}

func TestProgramMark(t *testing.T) {
	t.Parallel()
	const port, marked, other = 0x1234, 2, 0
	inOption := []byte{0x12, 0x34, 0x12, 0x34}
	tests := []struct {
		name   string
		packet []byte
		want   uint32
	}{
		{"IPv4", ipv4(port, nil), marked},
		{"IPv4 from another port", ipv4(port+1, nil), other},
		{"IPv4 with options", ipv4(port, make([]byte, 8)), marked},
		{"IPv4 with the longest options", ipv4(port, make([]byte, 40)), marked},
		{"IPv4 with the port in an option", ipv4(port+1, inOption), other},
		{"IPv6", ipv6(port, protocolTCP, nil), marked},
		{"IPv6 from another port", ipv6(port+1, protocolTCP, nil), other},
		{"IPv6 with an extension header", ipv6(port+1, 60, inOption), other},
		{"neither", append([]byte{5 << 4}, ipv4(port, nil)[1:]...), other},
	}
	program := Steering{Weights: []uint32{1}, Mark: &Mark{Port: port, Index: marked}}.program()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, interpret(t, program, tt.packet, 0))
		})
	}
}
