package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fnhost/fnhost/builder"
)

// partsOf lists the folders of a function that would be functions themselves,
// were they not parts of it.
func partsOf(dir string) []string {
	root := cmp.Or(builder.FindModule(dir, ""), dir)
	found := builder.Find(dir, root)
	if len(found) != 1 || found[0].Source.Dir != dir {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var parts []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || name[0] == '.' || name[0] == '_' || name == "node_modules" || name == "testdata" || name == "vendor" {
			continue
		}
		if len(builder.Find(filepath.Join(dir, name), root)) > 0 {
			parts = append(parts, name)
		}
	}
	return parts
}

// hiddenText says it.
func hiddenText(dir string, parts []string) string {
	if dir == "." {
		dir = "this folder"
	}
	if len(parts) == 1 {
		return fmt.Sprintf("%s is one function; its folder %s is a part of it and no function", dir, parts[0])
	}
	if n := len(parts) - 5; n > 0 {
		parts = append(parts[:5:5], fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%s is one function; its folders %s are parts of it and no functions", dir, strings.Join(parts, ", "))
}
