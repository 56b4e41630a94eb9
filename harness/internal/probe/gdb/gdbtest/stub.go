// Package gdbtest is a gdb stub without a machine, for tests: registers and
// memory are what they were set to, and what happens while the guest runs is a
// function of the test's.
package gdbtest

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Stub is a guest and its stub. Its fields may be used by the test while nothing
// is served, and by Run.
type Stub struct {
	// Regs are the registers of each vCPU.
	Regs map[string]map[int]uint64
	// Memory is what lies where.
	Memory map[uint64]byte
	// Breaks are the breakpoints that are set.
	Breaks map[uint64]bool
	// Run is called to run the guest, and returns the stop reply; "" runs on
	// until it is interrupted. step is the vCPU that makes a single step, "" for
	// a run of all.
	Run func(s *Stub, step string) string
	// Answer, where not nil, answers a packet in the stub's place.
	Answer func(packet string) (answer string, ok bool)
	// Packets are all that came.
	Packets []string

	thread string
}

// Serve serves one connection until it ends, and closes it.
func (s *Stub) Serve(conn net.Conn) {
	defer conn.Close()
	s.thread = "01"
	in := bufio.NewReader(conn)
	for {
		b, err := in.ReadByte()
		if err != nil {
			return
		}
		switch b {
		case 3:
			send(conn, "T02thread:"+s.thread+";")
		case '$':
			data, err := in.ReadString('#')
			if err != nil {
				return
			}
			if _, err := in.Discard(2); err != nil {
				return
			}
			_, _ = conn.Write([]byte{'+'}) // the peer may have left
			packet := strings.TrimSuffix(data, "#")
			s.Packets = append(s.Packets, packet)
			answer, run := s.answer(packet)
			if !run || answer != "" {
				send(conn, answer)
			}
			if packet == "D" {
				return
			}
		}
	}
}

func send(conn net.Conn, data string) {
	var sum byte
	for i := range len(data) {
		sum += data[i]
	}
	fmt.Fprintf(conn, "$%s#%02x", data, sum)
}

func (s *Stub) answer(packet string) (answer string, run bool) {
	if s.Answer != nil {
		if a, ok := s.Answer(packet); ok {
			return a, false
		}
	}
	a, b := numbers(packet[1:])
	switch {
	case packet == "?":
		return "T05thread:01;", false
	case packet == "vCont;c":
		return s.Run(s, ""), true
	case strings.HasPrefix(packet, "vCont;s:"):
		return s.Run(s, packet[len("vCont;s:"):]), true
	case strings.HasPrefix(packet, "Hg"):
		if s.Regs[packet[2:]] == nil {
			return "E22", false
		}
		s.thread = packet[2:]
	case strings.HasPrefix(packet, "qSupported"), strings.HasPrefix(packet, "qXfer"):
		return "l<target/>", false
	case packet[0] == 'Z', packet[0] == 'z':
		_, addr := numbers(packet[1:])
		s.Breaks[addr] = packet[0] == 'Z'
	case packet[0] == 'p':
		v, ok := s.Regs[s.thread][int(a)]
		if !ok {
			return "E14", false
		}
		return fmt.Sprintf("%x", binary.LittleEndian.AppendUint64(nil, v)), false
	case packet[0] == 'P':
		_, value, _ := strings.Cut(packet, "=")
		raw, err := hex.DecodeString(value)
		if err != nil {
			return "E22", false
		}
		var w [8]byte
		copy(w[:], raw)
		s.Regs[s.thread][int(a)] = binary.LittleEndian.Uint64(w[:])
	case packet[0] == 'm':
		out := make([]byte, b)
		for i := range out {
			v, ok := s.Memory[a+uint64(i)]
			if !ok {
				return "E14", false
			}
			out[i] = v
		}
		return hex.EncodeToString(out), false
	case packet[0] == 'M':
		_, value, _ := strings.Cut(packet, ":")
		raw, err := hex.DecodeString(value)
		if err != nil || uint64(len(raw)) != b {
			return "E22", false
		}
		for i, v := range raw {
			s.Memory[a+uint64(i)] = v
		}
	case packet == "D":
	default:
		return "", false
	}
	return "OK", false
}

// numbers reads the two hexadecimal numbers that a packet begins with.
func numbers(text string) (a, b uint64) {
	i := strings.IndexAny(text, ":=")
	if i >= 0 {
		text = text[:i]
	}
	first, rest, _ := strings.Cut(text, ",")
	second, _, _ := strings.Cut(rest, ",")
	a, _ = strconv.ParseUint(first, 16, 64) // 0 where there is none
	b, _ = strconv.ParseUint(second, 16, 64)
	return a, b
}

// Put writes a word to memory.
func (s *Stub) Put(addr, value uint64) {
	for i, b := range binary.LittleEndian.AppendUint64(nil, value) {
		s.Memory[addr+uint64(i)] = b
	}
}

// Word reads a word of memory.
func (s *Stub) Word(addr uint64) uint64 {
	var w [8]byte
	for i := range w {
		w[i] = s.Memory[addr+uint64(i)]
	}
	return binary.LittleEndian.Uint64(w[:])
}
