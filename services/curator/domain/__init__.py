"""Pure rules of curation: values in, values out."""
