package console

// Shape is a hash of a line without what counts or moves in it: digits, hex
// numbers, stars of a progress display, white space.
func Shape(line []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	number := false
	for i := range min(len(line), 1024) {
		c := line[i]
		switch {
		case c <= ' ' || c == '*':
			continue
		case c >= '0' && c <= '9' || number && countsOn(c):
			if number {
				continue
			}
			number, c = true, '#'
		default:
			number = false
		}
		h = (h ^ uint64(c)) * prime
	}
	return h
}

// countsOn says whether a byte belongs to a number that has begun.
func countsOn(c byte) bool {
	return c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == 'x' || c == '.'
}
