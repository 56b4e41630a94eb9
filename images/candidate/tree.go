package candidate

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// treeKernels are the boot images a build leaves, below the tree or its O=
// directory, the one meant for booting first.
var treeKernels = func() []string {
	var names []string
	for _, a := range arch.All() {
		names = append(names, a.Facts().BootImages...)
	}
	return append(names, "vmlinux")
}()

// releaseRE is what a release may be as a directory's name.
var releaseRE = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._+~-]*$`)

// Tree says whether a directory is a kernel's build tree with a kernel in it, or its
// source.
func Tree(dir string) (built, source bool) {
	for _, name := range treeKernels {
		built = built || firstFile(filepath.Join(dir, name)) != ""
	}
	built = built && firstFile(filepath.Join(dir, ".config")) != ""
	source = firstFile(filepath.Join(dir, "Kbuild")) != "" && firstFile(filepath.Join(dir, "Kconfig")) != "" &&
		firstFile(filepath.Join(dir, "MAINTAINERS")) != ""
	return built, source
}

// resolveTree takes the kernel of a build tree. Its modules are copied to the
// cache, so that the next build does not change them under a guest.
func resolveTree(ctx context.Context, dir string, opts Options) (*Candidate, error) {
	k, err := treeKernel(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	c := &Candidate{
		Kernel: k, Origin: dir,
		ConfigPath: firstFile(filepath.Join(dir, ".config")),
		SystemMap:  firstFile(filepath.Join(dir, "System.map")),
	}
	if err := checkRelease(dir, k.Release); err != nil {
		return nil, err
	}
	list, err := modulesOrder(dir)
	if err != nil || len(list) == 0 {
		return c, err
	}
	c.ModulesDir, err = stageModules(ctx, dir, k.Release, list, opts.Cache)
	return c, err
}

// treeKernel identifies the boot image of the wanted architecture.
func treeKernel(ctx context.Context, dir string, opts Options) (*kernel.Kernel, error) {
	var found []string
	for _, name := range treeKernels {
		folder, isBoot := strings.CutPrefix(name, "arch/")
		if isBoot && opts.Arch != "" && !strings.HasPrefix(folder, opts.Arch.Facts().Source+"/") {
			continue
		}
		if firstFile(filepath.Join(dir, name)) != "" {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		reason := "not a kernel build tree, or nothing is built in it: none of " + strings.Join(treeKernels, ", ")
		if opts.Arch != "" {
			reason += " for " + string(opts.Arch)
		}
		return nil, &kernel.BadKernelError{Path: dir, Reason: reason}
	}
	k, err := keepFile(ctx, firstFile(filepath.Join(dir, found[0])), opts.Cache)
	if err != nil {
		return nil, err
	}
	own := "arch/" + k.Arch.Facts().Source + "/"
	if slices.ContainsFunc(found, func(name string) bool { return strings.HasPrefix(name, "arch/") && !strings.HasPrefix(name, own) }) {
		return nil, &kernel.BadKernelError{Path: dir, Reason: "holds kernels of two architectures: say which one is wanted"}
	}
	return k, nil
}

// checkRelease compares with what the build wrote down: a tree that was
// configured anew, but not built, has an image of another release.
func checkRelease(dir, release string) error {
	b, err := os.ReadFile(filepath.Join(dir, "include/config/kernel.release"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read build tree: %w", err)
	}
	if got := strings.TrimSpace(string(b)); got != release {
		return &kernel.BadKernelError{Path: dir, Reason: fmt.Sprintf("the boot image is release %s, but the tree is configured as %s: build it again", release, got)}
	}
	return nil
}

const maxOrder = 100_000 // modules; allmodconfig has some 10,000

// modulesOrder lists the built modules, relative to the tree, from
// modules.order. Since 6.4 it names .o files (kernel commit f65a486821cf).
func modulesOrder(dir string) ([]string, error) {
	f, err := os.Open(filepath.Join(dir, "modules.order"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read build tree: %w", err)
	}
	defer f.Close()
	var list []string
	sc := bufio.NewScanner(f)
	for sc.Scan() && len(list) < maxOrder {
		line := strings.TrimSpace(sc.Text())
		if line == "" {
			continue
		}
		name := strings.TrimPrefix(line, "kernel/") // as installed trees have it
		if base, ok := strings.CutSuffix(name, ".o"); ok {
			name = base + ".ko"
		}
		if !filepath.IsLocal(name) || !strings.HasSuffix(name, ".ko") {
			return nil, &kernel.BadKernelError{Path: f.Name(), Reason: fmt.Sprintf("not a list of modules: %.60q", line)}
		}
		list = append(list, name)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return list, nil
}

// stageModules copies modules to lib/modules/RELEASE in the cache. The entry
// is named by the modules' paths, sizes and times.
func stageModules(ctx context.Context, tree, release string, list []string, store *cache.Store) (string, error) {
	if !releaseRE.MatchString(release) {
		return "", &kernel.BadKernelError{Path: tree, Reason: fmt.Sprintf("release %q cannot name a directory", release)}
	}
	h := sha256.New()
	var total int64
	for _, m := range list {
		st, err := os.Stat(filepath.Join(tree, m))
		if errors.Is(err, fs.ErrNotExist) {
			return "", &kernel.BadKernelError{Path: tree, Reason: "modules.order lists " + m + ", which is not built: run `make modules`"}
		}
		if err != nil {
			return "", fmt.Errorf("read build tree: %w", err)
		}
		total += st.Size()
		fmt.Fprintf(h, "%s %d %d\n", m, st.Size(), st.ModTime().UnixNano())
	}
	modules := filepath.Join("lib/modules", release)
	key := cache.Key{Kind: "modules", Inputs: []string{"tree v2", tree, release, hex.EncodeToString(h.Sum(nil))}}
	dir, err := store.Get(ctx, key, func(ctx context.Context, dir string) (err error) {
		task := progress.From(ctx).Task("copy modules of "+tree, total)
		defer func() { task.Done(err) }()
		return copyModules(ctx, tree, filepath.Join(dir, modules), list, task)
	})
	return filepath.Join(dir, modules), err
}

func copyModules(ctx context.Context, tree, to string, list []string, task progress.Task) error {
	var order strings.Builder
	signer, err := newSigner(tree)
	if err != nil {
		return err
	}
	for _, m := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := copyFile(filepath.Join(tree, m), filepath.Join(to, "kernel", m))
		if err != nil {
			return fmt.Errorf("copy module: %w", err)
		}
		if err := signer.sign(ctx, filepath.Join(to, "kernel", m)); err != nil {
			return err
		}
		task.Add(n)
		order.WriteString("kernel/" + m + "\n")
	}
	if err := os.WriteFile(filepath.Join(to, "modules.order"), []byte(order.String()), 0o644); err != nil {
		return fmt.Errorf("copy modules: %w", err)
	}
	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo"} {
		_, err := copyFile(filepath.Join(tree, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy modules: %w", err)
		}
	}
	return depmod(to, list)
}

func copyFile(from, to string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	n, err := io.Copy(out, in)
	if err != nil {
		return n, err
	}
	return n, out.Close()
}
