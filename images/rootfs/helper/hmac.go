package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// hmacKey is the fixed key of hmaccalc and of libkcapi's sha512hmac
// (apps/kcapi-hasher.c, hmaccalc_hmackey). It is public: the check is against
// damage, not against an attacker.
const hmacKey = "FIPS-FTW-RHT2009"

// maxChecks bounds the lines read from one check file.
const maxChecks = 10000

// hmacFile returns the lower-case hexadecimal HMAC-SHA512 of a file.
func hmacFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := hmac.New(sha512.New, []byte(hmacKey))
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hmacMain is `sha512hmac FILE...` (print) and `sha512hmac -c CHECKFILE`
// (verify). It returns 0 when all is well and 1 for any mismatch, unreadable
// file or malformed line: what cannot be checked has not passed.
func hmacMain(args []string, out, errOut io.Writer) int {
	check, quiet := "", false
	var files []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-c", "--check":
			if i++; i == len(args) {
				fmt.Fprintln(errOut, "sha512hmac: -c needs a file")
				return 1
			}
			check = args[i]
		case "-q", "--quiet", "--status":
			quiet = true
		default:
			if strings.HasPrefix(args[i], "-") {
				fmt.Fprintf(errOut, "sha512hmac: unknown option %s\n", args[i])
				return 1
			}
			files = append(files, args[i])
		}
	}
	if check != "" {
		if quiet {
			out = io.Discard
		}
		return hmacCheck(check, out, errOut)
	}
	if len(files) == 0 {
		fmt.Fprintln(errOut, "usage: sha512hmac FILE... | sha512hmac -c CHECKFILE")
		return 1
	}
	status := 0
	for _, name := range files {
		sum, err := hmacFile(name)
		if err != nil {
			fmt.Fprintf(errOut, "sha512hmac: %v\n", err)
			status = 1
			continue
		}
		fmt.Fprintf(out, "%s  %s\n", sum, name)
	}
	return status
}

// hmacCheck verifies each "SUM  NAME" line of a check file, names relative to
// the working directory.
func hmacCheck(path string, out, errOut io.Writer) int {
	f, err := os.Open(path)
	if err != nil {
		fmt.Fprintf(errOut, "sha512hmac: %v\n", err)
		return 1
	}
	defer f.Close()
	status, checked := 0, 0
	for s := bufio.NewScanner(io.LimitReader(f, 1<<20)); s.Scan() && checked < maxChecks; checked++ {
		want, name, ok := strings.Cut(s.Text(), " ")
		name = strings.TrimPrefix(strings.TrimPrefix(name, " "), "*")
		if !ok || name == "" || len(want) != 2*sha512.Size {
			fmt.Fprintf(errOut, "sha512hmac: %s: line %d is not \"SUM  FILE\"\n", path, checked+1)
			return 1
		}
		got, err := hmacFile(name)
		switch {
		case err != nil:
			fmt.Fprintf(errOut, "sha512hmac: %v\n", err)
			status = 1
		case got != strings.ToLower(want):
			fmt.Fprintf(out, "%s: Not OK\n", name)
			status = 1
		default:
			fmt.Fprintf(out, "%s: OK\n", name)
		}
	}
	if checked == 0 {
		fmt.Fprintf(errOut, "sha512hmac: %s: nothing to check\n", path)
		return 1
	}
	return status
}
