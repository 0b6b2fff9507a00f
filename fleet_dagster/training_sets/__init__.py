"""Labelled training sets: site-windows as rows, with what people said of incidents as labels, kept up to date in a folder."""
