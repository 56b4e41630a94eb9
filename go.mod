module github.com/unwedge/unwedge

go 1.26
