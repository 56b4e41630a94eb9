// Command steps turns a template of a CI system into a shell script that does what its
// runner would do: the job's variables, then its shell steps, then a look at the files
// that it is to upload. Steps that are the CI system's own (caches, artifacts) are left
// out.
//
// usage: go run ./ci/steps [-image] FILE
//
// -image prints the container image that the job runs in instead.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	image := flag.Bool("image", false, "print the image of the job's container")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	job, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "steps:", err)
		os.Exit(1)
	}
	if *image {
		fmt.Println(job.image)
		return
	}
	fmt.Print(job.script())
}
